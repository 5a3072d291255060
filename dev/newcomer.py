"""`python3 -m dev.newcomer`: do what the README tells somebody new to do, and see whether it is as it says.

It begins before there is anything: with the system's Python, and nothing installed. Everything goes through the doors
that a person has: make, a shell, Ctrl-C.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import Iterator

CLONE = Path(__file__).resolve().parent.parent
READY = "Ctrl-C stops it all"
DEMO = "Making and loading the demo catalogue"


def main() -> None:
    """Start twice, download both times, and leave nothing behind."""
    port = os.environ.setdefault("PORT", str(_free_port()))
    with _make_run() as said:
        _expect(DEMO in said, "the first start makes the demo")
        _first_download(port)
    _nothing_listens(port)
    with _make_run() as said:
        _expect(DEMO not in said, "the second start keeps the data")
        _greeting(said)
    _nothing_listens(port)
    _say("make reset")
    subprocess.run(["make", "reset"], cwd=CLONE, check=True)
    _expect(not (CLONE / ".run" / port).exists(), "make reset forgets it all")


# --- make run, and Ctrl-C ---------------------------------------------------------------------------------------------


@contextmanager
def _make_run() -> Iterator[str]:
    """Run the servers; give what was said until they are ready. Ends as a terminal does: Ctrl-C reaches everybody."""
    _say(f"PORT={os.environ['PORT']} make run")
    began = time.monotonic()
    with tempfile.NamedTemporaryFile("w+") as log:
        process = subprocess.Popen(
            ["make", "run"], cwd=CLONE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            said = _listen(process, Path(log.name))
            _say(f"It runs, after {time.monotonic() - began:.0f} s.")
            yield said
        finally:
            with suppress(ProcessLookupError):  # where it has ended by itself, why it did is the news
                os.killpg(process.pid, signal.SIGINT)
            process.wait(timeout=120)
        said = Path(log.name).read_text("utf-8")
    _expect("\nStopped.\n" in said, "Ctrl-C stops it, and says so", said)
    _expect("Traceback" not in said, "there is no traceback", said)


def _listen(process: subprocess.Popen[bytes], log: Path) -> str:
    """Show what is said, until it is all."""
    shown = 0
    while True:
        ended = process.poll() is not None
        said = log.read_text("utf-8")
        print(said[shown:], end="", flush=True)
        shown = len(said)
        if READY in said:
            return said
        if ended:
            _fail("make run ended before it was ready.")
        time.sleep(0.5)


def _nothing_listens(port: str) -> None:
    with socket.socket() as probe:
        _expect(probe.connect_ex(("127.0.0.1", int(port))) != 0, "nothing listens any more")
    # Root's PostgreSQL lies elsewhere, but in a folder that says whose it is.
    folders = [CLONE / ".run" / port, *_homes(CLONE / ".run" / port)]
    left = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdecimal() and _works_in(entry, folders)]
    _expect(not left, "no process is left", str(left))


def _homes(folder: Path) -> list[Path]:
    marks = Path("/var/lib").glob("stacflask-*/made-for")
    return [mark.parent for mark in marks if os.access(mark, os.R_OK) and mark.read_text().strip() == str(folder)]


def _works_in(process: Path, folders: list[Path]) -> bool:
    try:
        place = (process / "cwd").readlink()
    except OSError:
        return False
    return any(place.is_relative_to(folder) for folder in folders)


# --- The README's commands, and those of the greeting -----------------------------------------------------------------


def _first_download(port: str) -> None:
    """Run the README's shell lines as they stand, but for the port."""
    _say("The first download, as the README has it")
    section = (CLONE / "README.md").read_text("utf-8").partition("## The first download")[2]
    commands = section.partition("```sh\n")[2].partition("```")[0].replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    with _folder() as folder:
        said = _shell(commands, folder)
        statuses = [int(status) for status in re.findall(r"HTTP/1\.1 (\d+) ", said)]
        _expect(statuses == [401, 403], "a download is refused with 401, then with 403", said)
        _expect('"driver":"GTiff"' in said.replace(" ", ""), "GDAL opens the scene", said)
        saved = sorted(folder.glob("*.tif"))
        _expect(len(saved) == 2, "two scenes were downloaded", str(saved))
        ((item, asset),) = re.findall(r'SCENE="\$API(.*)/download/(.*)"', commands)
        _expect(_checksum(port, item, asset) in map(_multihash, saved), "the bytes are the ones promised")


def _greeting(said: str) -> None:
    """Run the commands that `make run` says to try."""
    _say("The commands to try, as make run has them")
    commands = "\n".join(line for line in said.partition("To try")[2].partition("To look")[0].splitlines()[1:])
    with _folder() as folder:
        told = _shell(commands, folder)
        _expect('"driver":"GTiff"' in told.replace(" ", ""), "GDAL opens the scene", told)
        _expect(len(list(folder.glob("*.tif"))) == 1, "a scene was downloaded", told)


@contextmanager
def _folder() -> Iterator[Path]:
    """Give an empty folder in which `.venv/bin` is where the commands expect it."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / ".venv").symlink_to(CLONE / ".venv")
        yield Path(name)


def _shell(commands: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-eu"], input=commands, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    _expect(done.returncode == 0, "every command works", done.stdout + done.stderr)
    return done.stdout


def _checksum(port: str, item: str, asset: str) -> str:
    with urlopen(f"http://127.0.0.1:{port}{item}", timeout=60) as answer:
        return str(json.load(answer)["assets"][asset]["file:checksum"])


def _multihash(path: Path) -> str:
    return "1220" + sha256(path.read_bytes()).hexdigest()


# --- Telling ----------------------------------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 8000))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _say(text: str) -> None:
    print(f"==> {text}", flush=True)


def _expect(holds: bool, what: str, said: str = "") -> None:
    if not holds:
        _fail(f"It is not so that {what}.\n{said}")
    print(f"  - {what}", flush=True)


def _fail(text: str) -> NoReturn:
    sys.exit(text)


if __name__ == "__main__":
    if shutil.which("make") is None:
        _fail("There is no make here.")
    main()

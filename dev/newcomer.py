"""`python3 -m dev.newcomer`: follow the README as a new user, and check the results.

It starts with the system's Python and nothing installed. It uses only what a user has: make, a shell, Ctrl-C.
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
READY = "Ctrl-C stops all servers"
DEMO = "Creating the demo catalogue"


def main() -> None:
    """Start twice, download both times, and remove everything."""
    port = os.environ.setdefault("PORT", str(_free_port()))
    with _make_run() as output:
        _expect(DEMO in output, "the first start creates the demo")
        _first_download(port)
    _check_stopped(port)
    with _make_run() as output:
        _expect(DEMO not in output, "the second start keeps the data")
        _instructions(output)
    _check_stopped(port)
    _print("make reset")
    subprocess.run(["make", "reset"], cwd=CLONE, check=True)
    _expect(not (CLONE / ".run" / port).exists(), "make reset deletes the data")


# --- make run, and Ctrl-C ---------------------------------------------------------------------------------------------


@contextmanager
def _make_run() -> Iterator[str]:
    """Run the servers and yield their output until they are ready. At the end, send SIGINT to the process group."""
    _print(f"PORT={os.environ['PORT']} make run")
    began = time.monotonic()
    with tempfile.NamedTemporaryFile("w+") as log:
        process = subprocess.Popen(
            ["make", "run"], cwd=CLONE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            output = _output_until_ready(process, Path(log.name))
            _print(f"Ready after {time.monotonic() - began:.0f} s.")
            yield output
        finally:
            with suppress(ProcessLookupError):  # It has exited already. The checks below report why.
                os.killpg(process.pid, signal.SIGINT)
            process.wait(timeout=120)
        output = Path(log.name).read_text("utf-8")
    _expect("\nStopped.\n" in output, "Ctrl-C stops the servers, and a message says so", output)
    _expect("Traceback" not in output, "there is no traceback", output)


def _output_until_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    """Print the output while it grows, and return it once it is complete."""
    printed = 0
    while True:
        has_exited = process.poll() is not None
        output = log.read_text("utf-8")
        print(output[printed:], end="", flush=True)
        printed = len(output)
        if READY in output:
            return output
        if has_exited:
            _fail("make run exited before it was ready.")
        time.sleep(0.5)


def _check_stopped(port: str) -> None:
    with socket.socket() as probe:
        _expect(probe.connect_ex(("127.0.0.1", int(port))) != 0, "no server listens")
    # Root's PostgreSQL has its own folder, with a file that names this one.
    folders = [CLONE / ".run" / port, *_homes(CLONE / ".run" / port)]
    running = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdecimal() and _works_in(entry, folders)]
    _expect(not running, "no process is running", str(running))


def _homes(folder: Path) -> list[Path]:
    marks = Path("/var/lib").glob("stacflask-*/made-for")
    return [mark.parent for mark in marks if os.access(mark, os.R_OK) and mark.read_text().strip() == str(folder)]


def _works_in(process: Path, folders: list[Path]) -> bool:
    try:
        cwd = (process / "cwd").readlink()
    except OSError:
        return False
    return any(cwd.is_relative_to(folder) for folder in folders)


# --- The commands of the README, and those that make run prints -------------------------------------------------------


def _first_download(port: str) -> None:
    """Run the shell commands of the README with this port."""
    _print("The first download in the README")
    section = (CLONE / "README.md").read_text("utf-8").partition("## The first download")[2]
    commands = section.partition("```sh\n")[2].partition("```")[0].replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    with _folder() as folder:
        output = _shell(commands, folder)
        statuses = [int(status) for status in re.findall(r"HTTP/1\.1 (\d+) ", output)]
        _expect(statuses == [401, 403], "a download is refused with 401, then with 403", output)
        _expect('"driver":"GTiff"' in output.replace(" ", ""), "GDAL opens the scene", output)
        saved = sorted(folder.glob("*.tif"))
        _expect(len(saved) == 2, "two scenes were downloaded", str(saved))
        ((item, asset),) = re.findall(r'SCENE="\$API(.*)/download/(.*)"', commands)
        _expect(_checksum(port, item, asset) in map(_multihash, saved), "the bytes have the item's checksum")


def _instructions(output: str) -> None:
    """Run the commands that `make run` prints."""
    _print("The commands that make run prints")
    section = output.partition("Commands to try")[2].partition("To run stacflask commands")[0]
    commands = "\n".join(section.splitlines()[1:])
    with _folder() as folder:
        result = _shell(commands, folder)
        _expect('"driver":"GTiff"' in result.replace(" ", ""), "GDAL opens the scene", result)
        _expect(len(list(folder.glob("*.tif"))) == 1, "a scene was downloaded", result)


@contextmanager
def _folder() -> Iterator[Path]:
    """Yield an empty folder with a link to `.venv`, as the commands expect it."""
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
    with urlopen(f"http://127.0.0.1:{port}{item}", timeout=60) as response:
        return str(json.load(response)["assets"][asset]["file:checksum"])


def _multihash(path: Path) -> str:
    return "1220" + sha256(path.read_bytes()).hexdigest()


# --- Helpers ----------------------------------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 8000))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _print(text: str) -> None:
    print(f"==> {text}", flush=True)


def _expect(holds: bool, expectation: str, output: str = "") -> None:
    if not holds:
        _fail(f"Expected that {expectation}.\n{output}")
    print(f"  - {expectation}", flush=True)


def _fail(text: str) -> NoReturn:
    sys.exit(text)


if __name__ == "__main__":
    if shutil.which("make") is None:
        _fail("make is not installed. Install it, and run this again.")
    main()

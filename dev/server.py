"""One server process: started, awaited, stopped, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class StackError(RuntimeError):
    """A private server cannot be had; the message says why, for the person at the terminal."""


@dataclass(frozen=True)
class Program:
    """What to run, in which folder and as whom, and what an earlier run may have left.

    ``stray``: the name of a binary that only this program runs in its folder; whoever else does is ended first.
    ``in_the_way``: files that a killed run leaves, and that would stop the next.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    log: Path | None
    environ: Mapping[str, str]
    ready: Callable[[], bool]
    user: str | None = None
    farewell: signal.Signals = signal.SIGTERM
    stray: str | None = None
    in_the_way: tuple[Path, ...] = ()


class Server:
    """A program that runs, or could. Not for two threads at once."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Launch it and wait until it answers. Raises StackError when it does not come up."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start the process, after ending what an earlier start left."""
        if self.program.stray:
            end_strays(self.program.folder, self.program.stray)
        for path in self.program.in_the_way:
            path.unlink(missing_ok=True)
        self._process = _spawner().submit(_spawn, self.program).result()

    def wait(self, patience: float = 60) -> None:
        """Return once it answers. Raises StackError when it ends before, or after ``patience`` seconds."""
        deadline = time.monotonic() + patience
        while not self.program.ready():
            code = self.ended()
            if code is not None:
                raise StackError(f"{self.program.name} ended with code {code} instead of starting.{self._last_words()}")
            if time.monotonic() > deadline:
                raise StackError(f"{self.program.name} does not answer after {patience:.0f} s.{self._last_words()}")
            time.sleep(0.02)

    def ended(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._process.poll() if self._process else 0

    def deaths(self) -> list[str]:
        """Say, in a line, that it ended without being told to; nothing while it runs or is stopped."""
        if self._process is None or self._process.poll() is None:
            return []
        log = f"; the last it said is in {self.program.log}" if self.program.log else ""
        return [f"{self.program.name} ended by itself, with code {self._process.poll()}{log}."]

    def stop(self, patience: float = 30) -> None:
        """End it in good order, by force after ``patience`` seconds. Stopping what does not run does nothing."""
        if self._process is None:
            return
        self._process.send_signal(self.program.farewell)
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _last_words(self) -> str:
        log = self.program.log
        if log is None or not log.exists():
            return ""
        lines = log.read_text(errors="replace").splitlines()[-15:]
        return "\n".join(["", *lines, f"(All of it in {log}.)"])


def end_strays(folder: Path, binary: str) -> None:
    """End the processes that run this binary in exactly this folder: an earlier start's, whose parent was killed."""
    for order in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 10
        strays = _running_in(folder, binary)
        for pid in strays:
            _signal(pid, order)
        while strays and time.monotonic() < deadline:
            time.sleep(0.05)
            strays = _running_in(folder, binary)


def run_as(user: str | None) -> tuple[str, ...]:
    """Begin a command line that runs the rest as another user (None: as ourselves)."""
    if user is None:
        return ("setpriv",)
    return ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups")


def plain_environ(home: Path, **more: str) -> dict[str, str]:
    """Return an environment in which no variable of the caller's changes what a server does."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "TZ": "UTC", **more}


def _running_in(folder: Path, binary: str) -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _is(entry, folder, binary)]


def _is(process: Path, folder: Path, binary: str) -> bool:
    try:
        # A binary that was replaced by an upgrade reads "... (deleted)".
        program = (process / "exe").readlink().name.removesuffix(" (deleted)")
        return program == binary and (process / "cwd").readlink() == folder
    except OSError:
        return False  # it has ended, or belongs to somebody else


def _signal(pid: int, order: signal.Signals) -> None:
    try:
        os.kill(pid, order)
    except ProcessLookupError:
        return


def _spawn(program: Program) -> subprocess.Popen[bytes]:
    death_wish = (f"--pdeathsig={program.farewell.name.removeprefix('SIG')}", "--")
    command: Sequence[str] = (*run_as(program.user), *death_wish, *program.command)
    log = program.log.open("ab") if program.log else None
    try:
        # In a session of its own: Ctrl-C is for us, and we stop the servers in order.
        return subprocess.Popen(
            command,
            cwd=program.folder,
            env=program.environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log and subprocess.STDOUT,
            start_new_session=True,
        )
    finally:
        if log:
            log.close()


@cache
def _spawner() -> ThreadPoolExecutor:
    # The kernel ends a child when the *thread* that made it ends: so one that lasts as long as we do makes them all.
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="stack")

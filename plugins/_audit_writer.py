"""Records on their way into a table: in a queue, and if wanted in a file too, until the database has them."""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stacflask import StacflaskError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

BATCH = 1000  # records in one statement
REST = 5.0  # seconds between tries while the database does not take them
FAREWELL = 10.0  # seconds that the end of a process waits for the last records
SUFFIX = ".jsonl"

log = logging.getLogger(__name__)


class Full(Exception):
    """A record could not be taken, and is lost unless the download is refused."""


# --- Files -----------------------------------------------------------------------------------------------------------


class Segment:
    """A file of records that the database does not have yet. While this process lives, it holds the file's lock."""

    def __init__(self, folder: Path) -> None:
        name = f"{time.time_ns()}-{os.getpid()}"
        hidden = folder / f"{name}.new"
        self.path = folder / f"{name}{SUFFIX}"
        self._file = os.open(hidden, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        # Others look for this suffix only: it is never seen without its lock.
        hidden.rename(self.path)
        self._length = 0

    def append(self, record: bytes) -> None:
        """Write one record, all of it or nothing. Raises OSError."""
        line = record + b"\n"
        written = os.write(self._file, line)
        if written != len(line):
            os.ftruncate(self._file, self._length)
            raise OSError("the file system took only a part of a record")
        self._length += written

    def remove(self) -> None:
        """Remove the file: the database has it all."""
        self.path.unlink(missing_ok=True)
        os.close(self._file)


def orphans(folder: Path) -> Iterator[tuple[Path, list[bytes]]]:
    """Give the files of processes that are no more, with their records. Each is locked while it is looked at."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists():  # its owner, or another finder, may just have removed it
                # What follows the last line's end was cut off in the middle, and never counted as written.
                yield path, path.read_bytes().split(b"\n")[:-1]
        except BlockingIOError:
            continue
        finally:
            os.close(file)


# --- The queue -------------------------------------------------------------------------------------------------------


@dataclass
class Writer:
    """Takes records, and lets a thread of its own insert them in batches.

    A record waits ``interval`` seconds at most while all is well. When ``capacity`` records wait, or one for longer
    than ``patience`` seconds, no more are taken: so much can be lost at most if the process is killed, and nothing if
    there is a ``folder``. ``insert`` takes a batch, or raises Unavailable; ``lost`` hears how many had to be given up.
    """

    insert: Callable[[Sequence[bytes]], None]
    restore: Callable[[Sequence[bytes]], None]
    lost: Callable[[int], None]
    interval: float = 0.5
    capacity: int = 10_000
    patience: float = 10.0
    folder: Path | None = None
    _queue: deque[bytes] = field(default_factory=deque, repr=False)
    _pending: deque[bytes] = field(default_factory=deque, repr=False)
    _segment: Segment | None = field(default=None, repr=False)
    _written: list[Segment] = field(default_factory=list, repr=False)
    _since: float | None = field(default=None, repr=False)
    _owner: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _flushing: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)

    def put(self, record: bytes) -> None:
        """Take a record. Raises Full."""
        with self._lock:
            if self._owner != os.getpid():
                self._begin()
            if self.waiting >= self.capacity or self._overdue():
                raise Full
            if self.folder is not None:
                self._keep(record, self.folder)
            self._queue.append(record)
            if self._since is None:
                self._since = time.monotonic()

    @property
    def waiting(self) -> int:
        """How many records the database does not have yet."""
        return len(self._queue) + len(self._pending)

    def _overdue(self) -> bool:
        return self._since is not None and time.monotonic() - self._since > self.patience

    def _keep(self, record: bytes, folder: Path) -> None:
        try:
            self._segment = self._segment or Segment(folder)
            self._segment.append(record)
        except OSError as error:
            log.error("audit: cannot write to %s: %s", folder, error)  # noqa: TRY400 - the message says it all
            raise Full from error

    def begin(self) -> None:
        """Begin to write what earlier processes left, before there is anything new."""
        with self._lock:
            if self._owner != os.getpid():
                self._begin()

    def _begin(self) -> None:
        """Start the thread: in the process that serves, and not in one that forks it."""
        self._owner = os.getpid()
        atexit.register(self.close)
        threading.Thread(target=self._run, name="audit", daemon=True).start()

    def _run(self) -> None:
        self.recover()
        rest = self.interval
        while not self._stop.wait(rest):
            rest = self.interval if self.flush() else max(self.interval, min(REST, self.patience / 2))

    def recover(self) -> None:
        """Insert what processes that are no more had in their files. What cannot be inserted stays for the next."""
        if self.folder is None:
            return
        for path, records in orphans(self.folder):
            try:
                self._insert(records, self.restore)
            except Unavailable:
                return
            path.unlink()
            log.warning("audit: recorded %s events that a process had left in %s", len(records), path.name)

    def flush(self) -> bool:
        """Insert all that waits. False if the database does not take it just now."""
        with self._flushing:
            with self._lock:
                self._pending += self._queue
                self._queue.clear()
                if self._segment is not None:
                    self._written.append(self._segment)
                    self._segment = None
            try:
                while self._pending:
                    batch = [self._pending[place] for place in range(min(BATCH, len(self._pending)))]
                    self._insert(batch, self.insert)
                    for _ in batch:
                        self._pending.popleft()
            except Unavailable:
                return False
            while self._written:
                self._written.pop().remove()
            with self._lock:
                self._since = time.monotonic() if self._queue else None
            return True

    def _insert(self, records: Sequence[bytes], insert: Callable[[Sequence[bytes]], None]) -> None:
        """Insert records; one that the database cannot keep is given up, and the others are not. Raises Unavailable."""
        for start in range(0, len(records), BATCH):
            batch = records[start : start + BATCH]
            try:
                insert(batch)
            except Unavailable:
                raise
            except StacflaskError:
                for record in batch:
                    self._insert_alone(record, insert)

    def _insert_alone(self, record: bytes, insert: Callable[[Sequence[bytes]], None]) -> None:
        try:
            insert([record])
        except Unavailable:
            raise
        except StacflaskError as error:
            log.error("audit: the database cannot keep a record: %s", error)  # noqa: TRY400 - the message says it all
            self.lost(1)

    def close(self) -> None:
        """Write what waits, and end. What cannot be written then is lost, unless there is a folder."""
        self._stop.set()
        if self._owner != os.getpid():
            return
        deadline = time.monotonic() + FAREWELL
        while not self.flush() and time.monotonic() < deadline:
            time.sleep(self.interval)
        if self.waiting and self.folder is None:
            self.lost(self.waiting)

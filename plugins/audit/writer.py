"""Records on their way into a table: in a queue, and if wanted in a file too, until the database has them."""

from __future__ import annotations

import atexit
import fcntl
import logging
import math
import os
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stacflask import BadDocument, StacflaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

BATCH = 1000  # records in one statement
HURRY = 0.5  # seconds between two tries, at least, that requests make
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
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            # Others look for this suffix only: it is never seen without its lock.
            hidden.rename(self.path)
        except OSError:
            os.close(self._file)
            hidden.unlink(missing_ok=True)
            raise
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
        """Remove the file: the database has it all. One that stays is looked at again, and written no second time."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            log.error("audit: cannot remove %s: %s", self.path, error)  # noqa: TRY400 - the message says it all
        os.close(self._file)


@contextmanager
def taken_over(path: Path) -> Iterator[list[bytes]]:
    """Lock the file of a process that is no more, and give its records.

    Raises BlockingIOError if its process lives, FileNotFoundError if it is done with, or another OSError.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # What follows the last line's end was cut off in the middle, and never counted as written.
        yield path.read_bytes().split(b"\n")[:-1]
    finally:
        os.close(file)


# --- The queue -------------------------------------------------------------------------------------------------------


@dataclass
class Writer:
    """Takes records, and lets a thread of its own insert them in batches.

    A record waits ``interval`` seconds at most while all is well. When ``capacity`` records wait, or one for longer
    than ``patience`` seconds, no more are taken: so much can be lost at most if the process is killed, and nothing if
    there is a ``folder``. ``insert`` takes a batch, or raises BadDocument where one of it cannot be kept, or another
    StacflaskError where none can be just now; ``lost`` hears how many had to be given up.
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
    _doubtful: bool = field(default=False, repr=False)
    _owner: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _tried: float = -math.inf
    # Entered again by the thread that holds it, in ``_hurry``.
    _flushing: Any = field(default_factory=threading.RLock, repr=False)
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)

    def put(self, record: bytes) -> None:
        """Take a record. Raises Full."""
        if self._problem():
            self._hurry()
        with self._lock:
            if self._owner != os.getpid():
                self._begin()
            if problem := self._problem():
                raise Full(problem)
            if self.folder is not None:
                self._keep(record, self.folder)
            self._queue.append(record)
            if self._since is None:
                self._since = time.monotonic()

    @property
    def waiting(self) -> int:
        """How many records the database does not have yet."""
        return len(self._queue) + len(self._pending)

    def _problem(self) -> str:
        """Say why no record can be taken; empty if one can."""
        if self.waiting >= self.capacity:
            return f"{self.waiting} records wait for the database"
        if self._since is not None and time.monotonic() - self._since > self.patience:
            return f"a record has waited for the database for more than {self.patience:g} s"
        return ""

    def _hurry(self) -> None:
        """Try again now: the database may be back, and the thread's next try may be seconds away."""
        if self._tried + HURRY > time.monotonic() or not self._flushing.acquire(blocking=False):
            return
        try:
            self.flush()
        finally:
            self._flushing.release()

    def _keep(self, record: bytes, folder: Path) -> None:
        try:
            self._segment = self._segment or Segment(folder)
            self._segment.append(record)
        except OSError as error:
            log.error("audit: cannot write to %s: %s", folder, error)  # noqa: TRY400 - the message says it all
            raise Full(f"cannot write to {folder}: {error}") from error

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
        recovered, rest = self.recover(), self.interval
        while not self._stop.wait(rest):
            well = self.flush()
            recovered = recovered or (well and self.recover())
            rest = self.interval if well and recovered else max(self.interval, min(REST, self.patience / 2))

    def recover(self) -> bool:
        """Insert what processes that are no more had in their files. False if the database takes nothing just now."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}")) if self.folder else ():
            try:
                self._recover(path)
            except (BlockingIOError, FileNotFoundError):
                continue
            except OSError as error:
                log.error("audit: what a process had left in %s stays there: %s", path, error)  # noqa: TRY400
            except StacflaskError:
                return False
        return True

    def _recover(self, path: Path) -> None:
        with taken_over(path) as records:
            self._insert(records, self.restore)
            path.unlink()
        log.warning("audit: recorded %s events that a process had left in %s", len(records), path.name)

    def flush(self) -> bool:
        """Insert all that waits. False if the database does not take it just now."""
        with self._flushing:
            self._tried = time.monotonic()
            with self._lock:
                self._pending += self._queue
                self._queue.clear()
                # While the database is away, one file takes what comes: a process may have only so many open.
                if self._segment is not None and not self._written:
                    self._written.append(self._segment)
                    self._segment = None
            try:
                while self._pending:
                    batch = [self._pending[place] for place in range(min(BATCH, len(self._pending)))]
                    # What failed may be there all the same: the answer was lost, and not what was asked.
                    self._insert(batch, self.restore if self._doubtful else self.insert)
                    self._doubtful = False
                    for _ in batch:
                        self._pending.popleft()
            except StacflaskError:
                self._doubtful = True
                return False
            with self._lock:
                self._since = time.monotonic() if self._queue else None
                # What came while the database was away is written, too, unless more has come just now.
                if self._segment is not None and not self._queue:
                    self._written.append(self._segment)
                    self._segment = None
            while self._written:
                self._written.pop().remove()
            return True

    def _insert(self, records: Sequence[bytes], insert: Callable[[Sequence[bytes]], None]) -> None:
        """Insert records; one that the database cannot keep is given up, and the others are not.

        Raises StacflaskError where it is not the records' fault: they wait.
        """
        for start in range(0, len(records), BATCH):
            batch = records[start : start + BATCH]
            try:
                insert(batch)
            except BadDocument:
                for record in batch:
                    self._insert_alone(record, insert)

    def _insert_alone(self, record: bytes, insert: Callable[[Sequence[bytes]], None]) -> None:
        try:
            insert([record])
        except BadDocument as error:
            log.error("audit: the database cannot keep a record: %s", error)  # noqa: TRY400 - the message says it all
            self.lost(1)

    def close(self) -> None:
        """Write what waits, and end. What cannot be written then is lost, unless there is a folder."""
        self._stop.set()
        if self._owner != os.getpid():
            return
        deadline = time.monotonic() + FAREWELL
        while not self.flush() and time.monotonic() < deadline:
            time.sleep(min(self.interval, 1))
        if self.waiting and self.folder is None:
            self.lost(self.waiting)

"""Writes records in batches: they wait in a queue, and optionally in a file, until the database has them."""

import atexit
import fcntl
import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stacflask import BadDocument, StacflaskError

BATCH_RECORDS = 1000
RETRY_SECONDS = 0.5  # shortest time between two tries by requests
MAX_PAUSE_SECONDS = 5.0  # longest time between two tries while the database is not available
CLOSE_TIMEOUT_SECONDS = 10.0
SUFFIX = ".jsonl"

log = logging.getLogger(__name__)


class Full(Exception):
    """A record was not accepted. It is lost unless the download is refused."""


# --- Files -----------------------------------------------------------------------------------------------------------


class Segment:
    """A file of records that the database does not have yet. This process locks the file while it runs."""

    def __init__(self, folder: Path) -> None:
        name = f"{time.time_ns()}-{os.getpid()}"
        hidden = folder / f"{name}.new"
        self.path = folder / f"{name}{SUFFIX}"
        self._file = os.open(hidden, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            # Other processes read only files with this suffix, so they never find the file without its lock.
            hidden.rename(self.path)
        except OSError:
            os.close(self._file)
            hidden.unlink(missing_ok=True)
            raise
        self._length = 0

    def append(self, record: bytes) -> None:
        """Write one whole record, or nothing. Raises OSError."""
        line = record + b"\n"
        written = os.write(self._file, line)
        if written != len(line):
            os.ftruncate(self._file, self._length)
            raise OSError("the file system wrote only a part of a record")
        self._length += written

    def remove(self) -> None:
        """Remove the file, after the database has all of it. If it remains, its records are not inserted again."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            log.error("spool file not removed", extra={"path": str(self.path), "error": str(error)})  # noqa: TRY400
        os.close(self._file)


@contextmanager
def locked_records(path: Path) -> Iterator[list[bytes]]:
    """Lock the file of an ended process, and yield its records.

    Raises BlockingIOError if the process is running, FileNotFoundError if the file was removed, or another OSError.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Bytes after the last line end are an incomplete record, which was never accepted.
        yield path.read_bytes().split(b"\n")[:-1]
    finally:
        os.close(file)


# --- The queue -------------------------------------------------------------------------------------------------------


@dataclass
class Writer:
    """Queues records, and inserts them in batches in a thread.

    A record waits at most ``interval`` seconds while the database is available. If ``capacity`` records wait, or one
    waits longer than ``max_wait`` seconds, no more are accepted. So much is lost at most if the process is killed, and
    nothing if there is a ``folder``. ``insert`` inserts a batch; it raises BadDocument if a record cannot be stored,
    or another StacflaskError if no record can be stored at the moment. ``count_lost`` gets the number of lost records.
    """

    insert: Callable[[Sequence[bytes]], None]
    restore: Callable[[Sequence[bytes]], None]
    count_lost: Callable[[int], None]
    interval: float = 0.5
    capacity: int = 10_000
    max_wait: float = 10.0
    folder: Path | None = None
    _queue: deque[bytes] = field(default_factory=deque, repr=False)
    _pending: deque[bytes] = field(default_factory=deque, repr=False)
    _segment: Segment | None = field(default=None, repr=False)
    _done_segments: list[Segment] = field(default_factory=list, repr=False)
    _waiting_since: float | None = field(default=None, repr=False)
    _uncertain: bool = field(default=False, repr=False)
    _owner: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _last_try: float = -math.inf
    # Reentrant, because ``_retry`` holds it when it calls ``flush``.
    _flushing: Any = field(default_factory=threading.RLock, repr=False)
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)

    def put(self, record: bytes) -> None:
        """Queue a record. Raises Full."""
        if self._problem():
            self._retry()
        with self._lock:
            if self._owner != os.getpid():
                self._begin()
            if problem := self._problem():
                raise Full(problem)
            if self.folder is not None:
                self._spool(record, self.folder)
            self._queue.append(record)
            if self._waiting_since is None:
                self._waiting_since = time.monotonic()

    @property
    def queued(self) -> int:
        """The number of records that the database does not have yet."""
        return len(self._queue) + len(self._pending)

    def _problem(self) -> str:
        """Return why no record can be accepted; empty if one can."""
        if self.queued >= self.capacity:
            return f"{self.queued} records are waiting for the database"
        if self._waiting_since is not None and time.monotonic() - self._waiting_since > self.max_wait:
            return f"a record has been waiting for the database for more than {self.max_wait:g} s"
        return ""

    def _retry(self) -> None:
        """Try again now: the database may be available again, and the thread's next try may be seconds away."""
        if self._last_try + RETRY_SECONDS > time.monotonic() or not self._flushing.acquire(blocking=False):
            return
        try:
            self.flush()
        finally:
            self._flushing.release()

    def _spool(self, record: bytes, folder: Path) -> None:
        try:
            self._segment = self._segment or Segment(folder)
            self._segment.append(record)
        except OSError as error:
            log.error("spool file not written", extra={"folder": str(folder), "error": str(error)})  # noqa: TRY400
            raise Full(f"cannot write to {folder}: {error}") from error

    def begin(self) -> None:
        """Start the thread before the first record, to insert the records of ended processes."""
        with self._lock:
            if self._owner != os.getpid():
                self._begin()

    def _begin(self) -> None:
        """Start the thread in the current process, because threads do not survive a fork."""
        self._owner = os.getpid()
        atexit.register(self.close)
        threading.Thread(target=self._run, name="audit", daemon=True).start()

    def _run(self) -> None:
        recovered, pause = self.recover(), self.interval
        while not self._stop.wait(pause):
            flushed = self.flush()
            recovered = recovered or (flushed and self.recover())
            longest = max(self.interval, min(MAX_PAUSE_SECONDS, self.max_wait / 2))
            pause = self.interval if flushed and recovered else longest

    def recover(self) -> bool:
        """Insert records in files of ended processes. Return False if the database is not available."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}")) if self.folder else ():
            try:
                self._recover(path)
            except (BlockingIOError, FileNotFoundError):
                continue
            except OSError as error:
                log.error("spool file not recovered", extra={"path": str(path), "error": str(error)})  # noqa: TRY400
            except StacflaskError:
                return False
        return True

    def _recover(self, path: Path) -> None:
        with locked_records(path) as records:
            self._insert(records, self.restore)
            path.unlink()
        log.warning("spool file recovered", extra={"path": str(path), "records": len(records)})

    def flush(self) -> bool:
        """Insert all queued records. Return False if the database is not available."""
        with self._flushing:
            self._last_try = time.monotonic()
            with self._lock:
                self._pending += self._queue
                self._queue.clear()
                # While the database is not available, all new records go to one file, because the number of open
                # files is limited.
                if self._segment is not None and not self._done_segments:
                    self._done_segments.append(self._segment)
                    self._segment = None
            try:
                while self._pending:
                    batch = [self._pending[index] for index in range(min(BATCH_RECORDS, len(self._pending)))]
                    # A batch that failed may have been committed: only the response of the database may be lost.
                    self._insert(batch, self.restore if self._uncertain else self.insert)
                    self._uncertain = False
                    for _ in batch:
                        self._pending.popleft()
            except StacflaskError:
                self._uncertain = True
                return False
            with self._lock:
                self._waiting_since = time.monotonic() if self._queue else None
                # The records that arrived during the outage are inserted, too, unless more have arrived since.
                if self._segment is not None and not self._queue:
                    self._done_segments.append(self._segment)
                    self._segment = None
            while self._done_segments:
                self._done_segments.pop().remove()
            return True

    def _insert(self, records: Sequence[bytes], insert: Callable[[Sequence[bytes]], None]) -> None:
        """Insert records; a record that the database cannot store is counted as lost, and the others are inserted.

        Raises StacflaskError if the database is not available. The records stay queued.
        """
        for start in range(0, len(records), BATCH_RECORDS):
            batch = records[start : start + BATCH_RECORDS]
            try:
                insert(batch)
            except BadDocument:
                for record in batch:
                    self._insert_alone(record, insert)

    def _insert_alone(self, record: bytes, insert: Callable[[Sequence[bytes]], None]) -> None:
        try:
            insert([record])
        except BadDocument as error:
            log.error("audit record not storable", extra={"error": str(error)})  # noqa: TRY400
            self.count_lost(1)

    def close(self) -> None:
        """Insert queued records and stop. Records that cannot be inserted are lost unless there is a folder."""
        self._stop.set()
        if self._owner != os.getpid():
            return
        deadline = time.monotonic() + CLOSE_TIMEOUT_SECONDS
        while not self.flush() and time.monotonic() < deadline:
            time.sleep(min(self.interval, 1))
        if self.queued and self.folder is None:
            self.count_lost(self.queued)

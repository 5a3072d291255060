"""The servers that stacflask needs, private to one folder: PostGIS and an S3 store.

    with running(Path(".run/8000"), keep=True) as stack:
        connect(stack.database_url)

The servers listen only on 127.0.0.1. They stop at the end of the block, also after Ctrl-C, SIGTERM or a closed
terminal. If this process is killed, the kernel stops the servers. The next start on the folder stops the rest.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from dev import credentials, ports, postgres, scaling, store
from dev.server import Server, StackError, stop_strays

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from dev.credentials import Secrets
    from dev.ports import Ports
    from dev.scaling import Replica

__all__ = ["InUse", "Stack", "StackError", "delete", "running", "scratch_folder"]


class InUse(StackError):
    """Another process runs the stack of this folder."""


@dataclass(frozen=True)
class Stack:
    """A running PostGIS and S3 store, with their URLs and credentials. Each can be stopped and started again."""

    database_url: str = field(repr=False)
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str = field(repr=False)
    s3_region: str
    bucket: str
    _cluster: Path = field(repr=False, compare=False)
    _secrets: Secrets = field(repr=False, compare=False)
    _database: Server = field(repr=False, compare=False)
    _store: Server = field(repr=False, compare=False)

    def stop_database(self) -> None:
        """Stop PostgreSQL and end its sessions."""
        self._database.stop()

    def start_database(self) -> None:
        """Start PostgreSQL again and wait until it is ready."""
        self._database.start()

    @contextmanager
    def replica(self) -> Iterator[tuple[str, Replica]]:
        """Run a streaming replica until the block ends. Yield the URL of the database on it, and the replica."""
        with scaling.replica(self._cluster, self._port, self._secrets) as running_replica:
            yield self._address(running_replica.port), running_replica

    @contextmanager
    def pooler(self) -> Iterator[str]:
        """Run pgbouncer in transaction mode until the block ends. Yield the URL of the database through it."""
        with scaling.pooler(self._cluster, self._port, self._secrets) as port:
            yield self._address(port)

    @property
    def _port(self) -> int:
        return int(self.database_url.rpartition(":")[2].partition("/")[0])

    def _address(self, port: int) -> str:
        return self.database_url.replace(f":{self._port}/", f":{port}/")

    def unexpected_exits(self) -> list[str]:
        """Return a message for each server that has exited by itself."""
        return [*self._database.unexpected_exits(), *self._store.unexpected_exits()]

    def stop_store(self) -> None:
        """Stop the S3 store."""
        self._store.stop()

    def start_store(self) -> None:
        """Start the S3 store again and wait until it is ready."""
        self._store.start()


@contextmanager
def running(
    folder: Path, *, database_port: int | None = None, store_port: int | None = None, keep: bool
) -> Iterator[Stack]:
    """Run the stack of ``folder`` until the block ends. The first use creates it.

    Ports that are not given are chosen. The next start uses the same ones if they are free. Without ``keep``, the
    folder is deleted at the end, and the servers are faster but not durable.
    Raises InUse if the stack of the folder is running, StackError if a server does not start.
    """
    folder = folder.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as ends:
        ends.enter_context(_signals_as_interrupts())
        ends.enter_context(_locked(folder))
        if not keep:
            ends.callback(_remove, folder)
        _stop_strays(folder)
        own = ends.enter_context(ports.reserved(_last_ports(folder), database=database_port, store=store_port))
        (folder / "ports").write_text(str(own.base))
        yield _start(folder, own, ends, durable=keep)


def delete(folder: Path) -> None:
    """Delete the stack of a folder with all its data. Raises InUse while it runs."""
    folder = folder.resolve()
    if folder.exists():
        with _locked(folder):
            _stop_strays(folder)
            _remove(folder)


def scratch_folder(parent: Path) -> Path:
    """Create an empty folder for a temporary stack, and delete the folders of killed processes."""
    parent.mkdir(parents=True, exist_ok=True)
    for lock in parent.glob("scratch-*/lock"):
        try:
            delete(lock.parent)
        except InUse:
            continue
    return Path(tempfile.mkdtemp(prefix="scratch-", dir=parent))


def _start(folder: Path, own: Ports, ends: ExitStack, *, durable: bool) -> Stack:
    keys = _secrets(folder)
    objects = store.server(folder / "store", own, keys, log=_fresh(folder / "store.log"))
    ends.callback(objects.stop)
    objects.launch()  # The store starts while PostgreSQL creates its cluster.
    database = _start_database(folder, own.database, keys, ends, durable=durable)
    objects.wait()
    return Stack(
        database_url=f"postgresql://{postgres.OWNER}:{keys.database_password}@127.0.0.1:{own.database}/{postgres.OWNER}",
        s3_endpoint=f"127.0.0.1:{own.http['s3']}",
        s3_access_key=keys.s3_access_key,
        s3_secret_key=keys.s3_secret_key,
        s3_region=store.REGION,
        bucket=store.BUCKET,
        _cluster=postgres.home_for(folder),
        _secrets=keys,
        _database=database,
        _store=objects,
    )


def _start_database(folder: Path, port: int, keys: Secrets, ends: ExitStack, *, durable: bool) -> Server:
    home, log = postgres.home_for(folder), _fresh(folder / "postgres.log")
    postgres.create(home, keys.admin_password, log)
    database = postgres.server(home, port, keys, log=log, durable=durable)
    ends.callback(database.stop)
    database.start()
    postgres.create_database(port, keys)
    if not durable:
        postgres.mark_for_tests(port, keys)
    return database


def _secrets(folder: Path) -> Secrets:
    path = folder / "secrets.json"
    if not path.exists():
        # Existing data cannot be used, because it has other credentials.
        postgres.remove(postgres.home_for(folder))
        shutil.rmtree(folder / "store", ignore_errors=True)
    return credentials.load_or_create(path)


def _stop_strays(folder: Path) -> None:
    stop_strays(folder / "store", "weed")
    stop_strays(postgres.home_for(folder) / "data", "postgres")


def _remove(folder: Path) -> None:
    postgres.remove(postgres.home_for(folder))
    shutil.rmtree(folder)


def _last_ports(folder: Path) -> int | None:
    try:
        return int((folder / "ports").read_text())
    except (FileNotFoundError, ValueError):
        return None


def _fresh(log: Path) -> Path:
    log.write_bytes(b"")
    return log


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes. The kernel unlocks it when this process exits."""
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise InUse(f"Process {lock.read().strip()} is running the servers of {folder}.") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt for SIGTERM and a closed terminal, too, so that every ``finally`` runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        signals.append(signal.SIGHUP)
    previous = {signum: signal.signal(signum, _interrupt) for signum in signals}
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def _interrupt(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt

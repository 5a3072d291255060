"""The servers behind a running stacflask, private to one folder: PostGIS and an S3 store.

    with running(Path(".run/8000"), keep=True) as stack:
        connect(stack.database_url)

Everything listens on 127.0.0.1 alone and is stopped when the block ends, by Ctrl-C, SIGTERM or a closed terminal too.
Were this process killed, the kernel ends the servers; what it misses, the next start on the folder ends first.
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
from dev.server import Server, StackError, end_strays

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from dev.credentials import Secrets
    from dev.ports import Ports
    from dev.scaling import Replica

__all__ = ["InUse", "Stack", "StackError", "forget", "running", "scratch_folder"]


class InUse(StackError):
    """Another process runs the stack of this folder."""


@dataclass(frozen=True)
class Stack:
    """A running PostGIS and S3 store, and how to reach them. Each can be stopped and started again, data kept."""

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
        """Stop PostgreSQL, ending its sessions."""
        self._database.stop()

    def start_database(self) -> None:
        """Start PostgreSQL again and wait until it answers."""
        self._database.start()

    @contextmanager
    def replica(self) -> Iterator[tuple[str, Replica]]:
        """Run a streaming replica until the block ends; give the address of our database there, and the replica."""
        with scaling.replica(self._cluster, self._port, self._secrets) as running_replica:
            yield self._address(running_replica.port), running_replica

    @contextmanager
    def pooler(self) -> Iterator[str]:
        """Run pgbouncer in transaction mode until the block ends; give the address of our database there."""
        with scaling.pooler(self._cluster, self._port, self._secrets) as port:
            yield self._address(port)

    @property
    def _port(self) -> int:
        return int(self.database_url.rpartition(":")[2].partition("/")[0])

    def _address(self, port: int) -> str:
        return self.database_url.replace(f":{self._port}/", f":{port}/")

    def deaths(self) -> list[str]:
        """Say which servers ended without being told to, in a line each."""
        return [*self._database.deaths(), *self._store.deaths()]

    def stop_store(self) -> None:
        """Stop the S3 store."""
        self._store.stop()

    def start_store(self) -> None:
        """Start the S3 store again and wait until it answers."""
        self._store.start()


@contextmanager
def running(
    folder: Path, *, database_port: int | None = None, store_port: int | None = None, keep: bool
) -> Iterator[Stack]:
    """Run the stack of ``folder``, made on first use, until the block ends.

    Ports that are not named are chosen, and are the same at the next start if they are free then. Without ``keep``
    the folder goes at the end, and speed is bought with durability.
    Raises InUse when the folder's stack runs already, StackError when a server does not start.
    """
    folder = folder.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as ends:
        ends.enter_context(_ended_in_order())
        ends.enter_context(_locked(folder))
        if not keep:
            ends.callback(_remove, folder)
        _end_strays(folder)
        own = ends.enter_context(ports.reserved(_last_ports(folder), database=database_port, store=store_port))
        (folder / "ports").write_text(str(own.base))
        yield _start(folder, own, ends, durable=keep)


def forget(folder: Path) -> None:
    """Remove the stack of this folder with all its data. Raises InUse while it runs."""
    folder = folder.resolve()
    if folder.exists():
        with _locked(folder):
            _end_strays(folder)
            _remove(folder)


def scratch_folder(parent: Path) -> Path:
    """Make an empty folder for a stack that is not kept, and remove those whose owners were killed."""
    parent.mkdir(parents=True, exist_ok=True)
    for lock in parent.glob("scratch-*/lock"):
        try:
            forget(lock.parent)
        except InUse:
            continue
    return Path(tempfile.mkdtemp(prefix="scratch-", dir=parent))


def _start(folder: Path, own: Ports, ends: ExitStack, *, durable: bool) -> Stack:
    keys = _secrets(folder)
    objects = store.server(folder / "store", own, keys, log=_fresh(folder / "store.log"))
    ends.callback(objects.stop)
    objects.launch()  # it comes up while PostgreSQL makes its cluster
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
    postgres.furnish(port, keys)
    if not durable:
        postgres.mark_for_tests(port, keys)
    return database


def _secrets(folder: Path) -> Secrets:
    path = folder / "secrets.json"
    if not path.exists():
        # Whatever data lies there was locked with other keys.
        postgres.remove(postgres.home_for(folder))
        shutil.rmtree(folder / "store", ignore_errors=True)
    return credentials.kept_in(path)


def _end_strays(folder: Path) -> None:
    end_strays(folder / "store", "weed")
    end_strays(postgres.home_for(folder) / "data", "postgres")


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
    """Hold the folder against every other process; the kernel lets go however we end."""
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise InUse(f"Process {lock.read().strip()} runs the servers in {folder}.") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end us as Ctrl-C does: through every ``finally``."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    orders = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # it is, under nohup
        orders.append(signal.SIGHUP)
    before = {order: signal.signal(order, _interrupt) for order in orders}
    try:
        yield
    finally:
        for order, handler in before.items():
            signal.signal(order, handler)


def _interrupt(_order: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt

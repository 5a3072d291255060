"""Ports on 127.0.0.1 for one stack, chosen so that stacks side by side never collide.

A stack takes a block of twenty. Its first port is bound and never used: while it is held, the block is ours, and the
kernel gives it back however we end. All lie below 32768, where Linux begins to pick ports for outgoing connections.
"""

from __future__ import annotations

import random
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dev.server import StackError

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 20
BLOCKS = range(12000, 22000, BLOCK)
SINGLES = range(10000, 12000)
STORE_PARTS = ("master", "volume", "filer", "s3", "admin")


@dataclass(frozen=True)
class Ports:
    """Where the servers of one stack listen."""

    base: int
    database: int
    http: dict[str, int]
    grpc: dict[str, int]

    @property
    def store_sockets(self) -> tuple[Path, ...]:
        """The Unix sockets that the store opens under /tmp, named by port, without being asked."""
        return tuple(Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock") for part, port in self.grpc.items())  # noqa: S108

    def free(self) -> bool:
        """Whether the stack can listen here: nobody else does, and no foreign socket file is in the way."""
        ports = (self.database, *self.http.values(), *self.grpc.values())
        return all(map(is_free, ports)) and all(map(_removed, self.store_sockets))


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """Return a port that nobody listens on now, beside the blocks. Raises StackError when there is none."""
    for port in random.sample(SINGLES, len(SINGLES)):
        if is_free(port):
            return port
    raise StackError(f"No free port between {SINGLES.start} and {SINGLES.stop}.")


@contextmanager
def reserved(last: int | None, *, database: int | None = None, store: int | None = None) -> Iterator[Ports]:
    """Hold a free block of ports, that of the ``last`` start if it is still to be had.

    ``database`` and ``store`` name these two ports instead of leaving them to the block; a named port that is taken
    raises StackError, as does a machine without a free block.
    """
    for named in (database, store):
        if named is not None and not is_free(named):
            raise StackError(f"Port {named} is taken.")
    for base in (*([last] if last in BLOCKS else []), *BLOCKS):
        ports = _layout(base, database, store)
        guard = _guard(base)
        if guard is None:
            continue
        with guard:
            if ports.free():
                yield ports
                return
    raise StackError(f"No free block of ports between {BLOCKS.start} and {BLOCKS.stop}.")


def _layout(base: int, database: int | None, store: int | None) -> Ports:
    http = {part: base + 2 + place for place, part in enumerate(STORE_PARTS)}
    grpc = {part: base + 7 + place for place, part in enumerate(STORE_PARTS)}
    # The store's own worker looks for its administrator ten thousand above, whatever it is told.
    grpc["admin"] = http["admin"] + 10000
    return Ports(base, database or base + 1, http | ({"s3": store} if store else {}), grpc)


def _guard(base: int) -> socket.socket | None:
    guard = socket.socket()
    try:
        guard.bind(("127.0.0.1", base))
    except OSError:
        guard.close()
        return None
    return guard


def _removed(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        return False
    return True

"""Ports on 127.0.0.1 for one stack, chosen so that several stacks never collide.

A stack reserves a block of twenty ports. It binds the first port and does not use it: this reserves the block, and the
kernel frees it when the process exits. All ports are below 32768, the first port of Linux for outgoing connections.
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
    """The ports of the servers of one stack."""

    base: int
    database: int
    http: dict[str, int]
    grpc: dict[str, int]

    @property
    def store_sockets(self) -> tuple[Path, ...]:
        """The Unix sockets that the store always opens under /tmp. Their names contain the ports."""
        return tuple(Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock") for part, port in self.grpc.items())  # noqa: S108

    def free(self) -> bool:
        """Return whether all ports are free and no socket file of another user blocks them."""
        ports = (self.database, *self.http.values(), *self.grpc.values())
        return all(map(is_free, ports)) and all(map(_removed, self.store_sockets))


def is_free(port: int) -> bool:
    """Return whether a port of 127.0.0.1 is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """Return a free port outside of the blocks. Raises StackError if there is none."""
    for port in random.sample(SINGLES, len(SINGLES)):
        if is_free(port):
            return port
    raise StackError(f"There is no free port between {SINGLES.start} and {SINGLES.stop}.")


@contextmanager
def reserved(last: int | None, *, database: int | None = None, store: int | None = None) -> Iterator[Ports]:
    """Reserve a free block of ports: that of the ``last`` start if it is free.

    ``database`` and ``store`` are the ports of these two servers, if they are not to be in the block. Raises StackError
    if such a port is in use, or if no block is free.
    """
    for port in (database, store):
        if port is not None and not is_free(port):
            raise StackError(f"Port {port} is in use.")
    for base in (*([last] if last in BLOCKS else []), *BLOCKS):
        ports = _layout(base, database, store)
        guard = _guard(base)
        if guard is None:
            continue
        with guard:
            if ports.free():
                yield ports
                return
    raise StackError(f"There is no free block of {BLOCK} ports between {BLOCKS.start} and {BLOCKS.stop}.")


def _layout(base: int, database: int | None, store: int | None) -> Ports:
    http = {part: base + 2 + index for index, part in enumerate(STORE_PARTS)}
    grpc = {part: base + 7 + index for index, part in enumerate(STORE_PARTS)}
    # The worker of the store always connects to its administrator at the HTTP port plus 10,000.
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

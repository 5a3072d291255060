"""What stands around a database that has outgrown one machine: a streaming replica, and pgbouncer. For tests."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString

import psycopg

from dev import postgres
from dev.ports import free_port
from dev.server import Program, Server, StackError, plain_environ, run_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.credentials import Secrets

PGBOUNCER = Path("/usr/sbin/pgbouncer")
# As Debian's comes: a client's wishes for its session are refused.
POOLER = """\
[databases]
* = host=127.0.0.1 port={database}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = 4
max_client_conn = 200
"""


@dataclass(frozen=True)
class Replica:
    """A running streaming replica."""

    port: int
    _server: Server = field(repr=False, compare=False)
    _secrets: Secrets = field(repr=False, compare=False)

    def pause(self) -> None:
        """Let it fall behind: what arrives is not applied."""
        self._order("SELECT pg_wal_replay_pause()")

    def resume(self) -> None:
        """Let it catch up."""
        self._order("SELECT pg_wal_replay_resume()")

    def promote(self) -> None:
        """Make it a primary of its own, and wait until it takes changes."""
        self._order("SELECT pg_promote()")

    def stop(self) -> None:
        """Stop it, ending its sessions."""
        self._server.stop()

    def start(self) -> None:
        """Start it again and wait until it answers."""
        self._server.start()

    def _order(self, statement: LiteralString) -> None:
        with postgres.connect(self.port, self._secrets, "postgres") as admin:
            admin.execute(statement)


@contextmanager
def replica(cluster: Path, database: int, secrets: Secrets) -> Iterator[Replica]:
    """Run a streaming replica of the cluster on port ``database``, until the block ends."""
    port = free_port()
    home = cluster / f"replica-{port}"
    postgres.make_home(home, made_for=cluster)
    _copy(home / "data", database, secrets)
    server = postgres.server(home, port, secrets, log=home / "log", durable=False)
    server.start()
    try:
        yield Replica(port, server, secrets)
    finally:
        server.stop()
        shutil.rmtree(home)


def _copy(data: Path, database: int, secrets: Secrets) -> None:
    command = (
        *run_as(postgres.user()),
        str(postgres.binaries(data) / "pg_basebackup"),
        f"--pgdata={data}",
        "--host=127.0.0.1",
        f"--port={database}",
        f"--username={postgres.ADMIN}",
        "--wal-method=stream",
        "--checkpoint=fast",
        "--write-recovery-conf",
    )
    environ = plain_environ(data.parent, PGPASSWORD=secrets.admin_password)
    made = subprocess.run(command, cwd="/", env=environ, capture_output=True, text=True, check=False)
    if made.returncode:
        raise StackError(f"The cluster could not be copied:\n{made.stderr.strip()}")


@contextmanager
def pooler(cluster: Path, database: int, secrets: Secrets) -> Iterator[int]:
    """Run pgbouncer in transaction mode before the database on this port, until the block ends; give its own port."""
    if not PGBOUNCER.exists():
        raise StackError(f"{PGBOUNCER} is missing: sh dev/bootstrap.sh installs it.")
    port = free_port()
    home = cluster / f"pooler-{port}"
    postgres.make_home(home, made_for=cluster)
    users = _written(home / "users", f'"{postgres.OWNER}" "{secrets.database_password}"\n')
    settings = _written(home / "pgbouncer.ini", POOLER.format(database=database, port=port, users=users))
    server = Server(
        Program(
            name="pgbouncer",
            command=(str(PGBOUNCER), str(settings)),
            folder=home,
            log=home / "log",
            environ=plain_environ(home),
            ready=lambda: _answers(port, secrets),
            user=postgres.user(),
        )
    )
    server.start()
    try:
        yield port
    finally:
        server.stop()
        shutil.rmtree(home)


def _written(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    postgres.give(path)
    return path


def _answers(port: int, secrets: Secrets) -> bool:
    address = f"postgresql://{postgres.OWNER}:{secrets.database_password}@127.0.0.1:{port}/{postgres.OWNER}"
    try:
        psycopg.connect(address, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True

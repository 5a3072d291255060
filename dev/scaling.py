"""A streaming replica and pgbouncer, for tests of larger deployments."""

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
# As in Debian's default, clients cannot set session parameters.
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
        """Stop applying changes, and wait until no more are applied."""
        _execute(self.port, self._secrets, "SELECT pg_wal_replay_pause()")
        state = "pg_get_wal_replay_pause_state()"
        _execute(
            self.port,
            self._secrets,
            f"DO $$ BEGIN WHILE {state} <> 'paused' LOOP PERFORM pg_sleep(0.01); END LOOP; END $$",
        )

    def resume(self) -> None:
        """Apply changes again."""
        _execute(self.port, self._secrets, "SELECT pg_wal_replay_resume()")

    def promote(self) -> None:
        """Promote the replica to a primary, and wait until it accepts changes."""
        _execute(self.port, self._secrets, "SELECT pg_promote()")

    def stop(self) -> None:
        """Stop the replica and end its sessions."""
        self._server.stop()

    def start(self) -> None:
        """Start the replica again and wait until it is ready."""
        self._server.start()


@contextmanager
def replica(cluster: Path, database: int, secrets: Secrets) -> Iterator[Replica]:
    """Run a synchronous streaming replica of the cluster on port ``database``, until the block ends.

    Transactions wait for it only if they set ``synchronous_commit``.
    """
    port = free_port()
    home = cluster / f"replica-{port}"
    postgres.make_home(home, stack_folder=cluster)
    _copy(home / "data", database, secrets)
    server = postgres.server(home, port, secrets, log=home / "log", durable=False)
    server.start()
    _execute(database, secrets, "ALTER SYSTEM SET synchronous_commit = local")
    _execute(database, secrets, "ALTER SYSTEM SET synchronous_standby_names = '*'")
    _execute(database, secrets, "SELECT pg_reload_conf()")
    try:
        yield Replica(port, server, secrets)
    finally:
        _execute(database, secrets, "ALTER SYSTEM RESET ALL")
        _execute(database, secrets, "SELECT pg_reload_conf()")
        server.stop()
        shutil.rmtree(home)


def _execute(port: int, secrets: Secrets, statement: LiteralString) -> None:
    with postgres.connect(port, secrets, "postgres") as admin:
        admin.execute(statement)


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
    done = subprocess.run(command, cwd="/", env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackError(f"pg_basebackup could not copy the cluster:\n{done.stderr.strip()}")


@contextmanager
def pooler(cluster: Path, database: int, secrets: Secrets) -> Iterator[int]:
    """Run pgbouncer in transaction mode for the database on port ``database``. Yield the port of pgbouncer."""
    if not PGBOUNCER.exists():
        raise StackError(f"{PGBOUNCER} is missing. Run sh dev/bootstrap.sh.")
    port = free_port()
    home = cluster / f"pooler-{port}"
    postgres.make_home(home, stack_folder=cluster)
    users = _written(home / "users", f'"{postgres.OWNER}" "{secrets.database_password}"\n')
    settings = _written(home / "pgbouncer.ini", POOLER.format(database=database, port=port, users=users))
    server = Server(
        Program(
            name="pgbouncer",
            command=(str(PGBOUNCER), str(settings)),
            folder=home,
            log=home / "log",
            environ=plain_environ(home),
            ready=lambda: _is_ready(port, secrets),
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
    postgres.chown(path)
    return path


def _is_ready(port: int, secrets: Secrets) -> bool:
    address = f"postgresql://{postgres.OWNER}:{secrets.database_password}@127.0.0.1:{port}/{postgres.OWNER}"
    try:
        psycopg.connect(address, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True

"""The private PostGIS cluster. It listens only on 127.0.0.1, always needs passwords, and changes no system files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from dev.server import Program, Server, StackError, plain_environ, run_as, stop_strays

if TYPE_CHECKING:
    from dev.credentials import Secrets

ADMIN = "postgres"
OWNER = "stacflask"
EXTENSIONS = ("postgis", "btree_gist", "unaccent")
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "cluster_name": "stacflask",
    # The benchmark runs a dozen servers, and each of their processes has its own pool.
    "max_connections": "300",
    "shared_buffers": "256MB",
    "effective_cache_size": "2GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "2GB",
    "random_page_cost": "1.1",
    # To compile a query takes longer than to run most queries of the catalogue.
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# For temporary data. A crash of the machine can lose all of it.
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def home_for(folder: Path) -> Path:
    """Return the folder for the cluster of the stack in ``folder``.

    PostgreSQL refuses to run as root, and the user postgres often cannot read root's folders. Clusters of root are
    therefore in /var/lib. They are not in /var/tmp, because some systems delete unused files there after a month.
    """
    if user() is None:
        return folder.resolve() / "postgres"
    return Path("/var/lib") / f"stacflask-{sha256(str(folder.resolve()).encode()).hexdigest()[:16]}"


def remove(home: Path) -> None:
    """Stop servers that run on the data of a cluster, and delete the data."""
    stop_strays(home / "data", "postgres")
    if home.exists():
        shutil.rmtree(home)


def create(home: Path, admin_password: str, log: Path) -> None:
    """Create an empty cluster if there is none. Raises StackError if that fails."""
    make_home(home, stack_folder=log.parent)
    data = home / "data"
    if data.exists():
        return
    unfinished = home / "unfinished"
    if unfinished.exists():
        shutil.rmtree(unfinished)
    password = home / "password"
    password.touch(mode=0o600)
    password.write_text(admin_password)
    chown(password)
    _initdb(unfinished, password, log)
    password.unlink()
    unfinished.rename(data)


def server(home: Path, port: int, secrets: Secrets, *, log: Path, durable: bool) -> Server:
    """Return the server of a cluster. It is not started."""
    data = home / "data"
    settings = SETTINGS | {"port": str(port)} | ({} if durable else NOT_DURABLE)
    flags = [f"--{name}={value}" for name, value in settings.items()]

    def ready() -> bool:
        try:
            connect(port, secrets, "postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    return Server(
        Program(
            name="PostgreSQL",
            command=(str(binaries(data) / "postgres"), "-D", str(data), *flags),
            folder=data,
            log=log,
            environ=plain_environ(home),
            ready=ready,
            user=user(),
            stop_signal=signal.SIGINT,  # The "fast" shutdown ends the sessions and writes a checkpoint.
            stray="postgres",
            # The file of a killed server contains a process id that another process can have by now.
            stale_files=(data / "postmaster.pid",),
        )
    )


def create_database(port: int, secrets: Secrets) -> None:
    """Create the role and the database, with extensions. New databases get the extensions, too."""
    with connect(port, secrets, "postgres") as admin:
        if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (OWNER,)).fetchone():
            return
        admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(OWNER)))
        admin.execute(
            sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}").format(
                sql.Identifier(OWNER), secrets.database_password
            )
        )
        with connect(port, secrets, "template1") as template:
            for name in EXTENSIONS:
                template.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(name)))
        admin.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(OWNER)))


def mark_for_tests(port: int, secrets: Secrets) -> None:
    """Mark the database as one that the fixtures of ``stacflask.testing`` may truncate."""
    with connect(port, secrets, "postgres") as admin:
        admin.execute(sql.SQL("COMMENT ON DATABASE {} IS 'stacflask test database'").format(sql.Identifier(OWNER)))


def connect(port: int, secrets: Secrets, database: str) -> psycopg.Connection:
    """Connect as the administrator of the cluster."""
    return psycopg.connect(
        host="127.0.0.1",
        port=port,
        user=ADMIN,
        password=secrets.admin_password,
        dbname=database,
        sslmode="disable",
        connect_timeout=5,
        autocommit=True,
    )


def user() -> str | None:
    """Return the user that PostgreSQL runs as. None means the current user."""
    return ADMIN if os.geteuid() == 0 else None


def chown(path: Path) -> None:
    """Change the owner of a file or folder to the user that PostgreSQL runs as."""
    owner = user()
    if owner:
        shutil.chown(path, owner, owner)


def make_home(home: Path, stack_folder: Path) -> None:
    """Create a home folder for PostgreSQL, with a file that names the folder of its stack."""
    if not home.exists():
        home.mkdir(mode=0o700)
        chown(home)
        (home / "made-for").write_text(f"{stack_folder}\n")


def _initdb(data: Path, password: Path, log: Path) -> None:
    command = (
        *run_as(user()),
        str(binaries(data) / "initdb"),
        f"--pgdata={data}",
        f"--username={ADMIN}",
        f"--pwfile={password}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
    )
    done = subprocess.run(command, cwd="/", env=plain_environ(data.parent), capture_output=True, text=True, check=False)
    log.write_text(done.stdout + done.stderr)
    if done.returncode:
        raise StackError(f"PostgreSQL could not create a cluster in {data}:\n{done.stderr.strip()}")


def binaries(data: Path) -> Path:
    """Return the folder of PostgreSQL's programs, of the version of ``data`` or else the newest with PostGIS."""
    majors = _majors_with_postgis()
    if not majors:
        raise StackError("PostgreSQL with PostGIS is not installed. Run sh dev/bootstrap.sh.")
    version = data / "PG_VERSION"
    major = int(version.read_text()) if version.exists() else max(majors)
    if major not in majors:
        raise StackError(
            f"{data} is a cluster of PostgreSQL {major}, which is not installed with PostGIS. Install it, or delete "
            "the data with make reset."
        )
    return Path(f"/usr/lib/postgresql/{major}/bin")


def _majors_with_postgis() -> set[int]:
    controls = Path("/usr/share/postgresql").glob("*/extension/postgis.control")
    majors = {int(control.parts[4]) for control in controls}
    return {major for major in majors if Path(f"/usr/lib/postgresql/{major}/bin/postgres").exists()}

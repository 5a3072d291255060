"""The private PostGIS cluster: TCP on 127.0.0.1 only, passwords always, nothing of the system's touched."""

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

from dev.server import Program, Server, StackError, end_strays, plain_environ, run_as

if TYPE_CHECKING:
    from dev.credentials import Secrets

ADMIN = "postgres"
OWNER = "stacflask"
EXTENSIONS = ("postgis", "btree_gist", "unaccent")
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "cluster_name": "stacflask",
    # For a dozen servers side by side, as the benchmark has them, each process with a pool of its own.
    "max_connections": "300",
    "shared_buffers": "256MB",
    "effective_cache_size": "2GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "2GB",
    "random_page_cost": "1.1",
    # Compiling a query takes longer than most of the catalogue's queries do.
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# For data that nobody will miss: a crash of the machine may lose it all.
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def home_for(folder: Path) -> Path:
    """Return where the cluster of the stack in ``folder`` lives.

    PostgreSQL refuses to run as root, and user postgres can seldom reach root's folders: for root it lies elsewhere.
    Not in /var/tmp, which some systems empty of what was not used for a month.
    """
    if user() is None:
        return folder.resolve() / "postgres"
    return Path("/var/lib") / f"stacflask-{sha256(str(folder.resolve()).encode()).hexdigest()[:16]}"


def remove(home: Path) -> None:
    """End what still runs on this cluster's data, and forget the data."""
    end_strays(home / "data", "postgres")
    if home.exists():
        shutil.rmtree(home)


def create(home: Path, admin_password: str, log: Path) -> None:
    """Make an empty cluster, unless there is one. Raises StackError when it cannot be made."""
    make_home(home, made_for=log.parent)
    data = home / "data"
    if data.exists():
        return
    unfinished = home / "unfinished"
    if unfinished.exists():
        shutil.rmtree(unfinished)
    password = home / "password"
    password.touch(mode=0o600)
    password.write_text(admin_password)
    give(password)
    _initdb(unfinished, password, log)
    password.unlink()
    unfinished.rename(data)


def server(home: Path, port: int, secrets: Secrets, *, log: Path, durable: bool) -> Server:
    """Return the cluster's server, not yet started."""
    data = home / "data"
    settings = SETTINGS | {"port": str(port)} | ({} if durable else FORGETFUL)
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
            farewell=signal.SIGINT,  # "fast": ends the sessions and writes everything down
            stray="postgres",
            # Its owner was ended; left there, the number in it may by now be another process's.
            in_the_way=(data / "postmaster.pid",),
        )
    )


def furnish(port: int, secrets: Secrets) -> None:
    """Make the role, and the database with its extensions; new databases get the extensions too."""
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
    """Mark the database as one that the fixtures of ``stacflask.testing`` may empty."""
    with connect(port, secrets, "postgres") as admin:
        admin.execute(sql.SQL("COMMENT ON DATABASE {} IS 'stacflask test database'").format(sql.Identifier(OWNER)))


def connect(port: int, secrets: Secrets, database: str) -> psycopg.Connection:
    """Connect as the cluster's administrator."""
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
    """Return as whom PostgreSQL runs; None: as ourselves."""
    return ADMIN if os.geteuid() == 0 else None


def give(path: Path) -> None:
    """Make a file or folder of ours PostgreSQL's."""
    owner = user()
    if owner:
        shutil.chown(path, owner, owner)


def make_home(home: Path, made_for: Path) -> None:
    """Make a folder of PostgreSQL's, with a note of what it is for."""
    if not home.exists():
        home.mkdir(mode=0o700)
        give(home)
        (home / "made-for").write_text(f"{made_for}\n")


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
    made = subprocess.run(command, cwd="/", env=plain_environ(data.parent), capture_output=True, text=True, check=False)
    log.write_text(made.stdout + made.stderr)
    if made.returncode:
        raise StackError(f"PostgreSQL could not make a cluster in {data}:\n{made.stderr.strip()}")


def binaries(data: Path) -> Path:
    """Return the folder of PostgreSQL's programs: of the version that made ``data``, else the newest with PostGIS."""
    majors = _majors_with_postgis()
    if not majors:
        raise StackError("No PostgreSQL with PostGIS is installed here: sh dev/bootstrap.sh installs it.")
    version = data / "PG_VERSION"
    major = int(version.read_text()) if version.exists() else max(majors)
    if major not in majors:
        raise StackError(f"{data} was made by PostgreSQL {major}, which is not installed with PostGIS. `make reset`?")
    return Path(f"/usr/lib/postgresql/{major}/bin")


def _majors_with_postgis() -> set[int]:
    controls = Path("/usr/share/postgresql").glob("*/extension/postgis.control")
    majors = {int(control.parts[4]) for control in controls}
    return {major for major in majors if Path(f"/usr/lib/postgresql/{major}/bin/postgres").exists()}

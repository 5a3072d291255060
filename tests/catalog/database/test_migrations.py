"""Migrations: the schema of the code, upgrades and downgrades, concurrent upgrades, revisions that are unknown."""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from dev import from_main
from stacflask.catalog.database.engine import create_engine
from stacflask.settings import Settings
from tests.conftest import PLUGINS, migrate
from tests.databases import drop

ROOT = Path(__file__).parents[3]


def alembic(url: str, *arguments: str) -> subprocess.Popen[str]:
    """Start alembic in a new process."""
    return subprocess.Popen(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def done(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


def engine(url: str) -> sa.Engine:
    given = Settings.from_environ({"DATABASE_URL": url}).database_url
    return create_engine(given, pool_size=0, statement_timeout=0).execution_options(isolation_level="READ COMMITTED")


@pytest.fixture
def fresh(database_url: str) -> Iterator[str]:
    """Return the URL of an empty database, with the extensions of the test database."""
    base = database_url.rpartition("/")[0]
    url = f"{base}/migrations"
    with engine(database_url).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("DROP DATABASE IF EXISTS migrations"))
        connection.execute(sa.text("CREATE DATABASE migrations"))
    yield url
    drop(database_url, "migrations")


def schema(url: str) -> dict[str, Any]:
    """Return columns, constraints and indexes by table, and the functions."""
    with engine(url).connect() as connection:
        inspector = sa.inspect(connection)
        tables = sorted(set(inspector.get_table_names()) - {"spatial_ref_sys"})
        tables = [name for name in tables if not name.startswith("alembic_version")]
        columns = """
            SELECT column_name, data_type, is_nullable, collation_name, column_default,
                   col_description(table_name::regclass, ordinal_position)
            FROM information_schema.columns WHERE table_name = :t
        """
        constraints = (
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = CAST(:t AS regclass)"
        )
        indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = :t"
        found: dict[str, Any] = {
            table: [
                sorted(map(tuple, connection.execute(sa.text(sql), {"t": table})), key=str)
                for sql in (columns, constraints, indexes)
            ]
            for table in tables
        }
        return found | dict(
            connection.execute(sa.text(f"SELECT proname, pg_get_functiondef(oid) {OWN_FUNCTIONS}")).all()
        )


OWN_FUNCTIONS = """
    FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
"""


def test_the_revisions_create_the_tables_of_the_code(database_url: str) -> None:
    """`alembic check` finds no difference between the tables in the code and the migrated database."""
    assert "No new upgrade operations detected" in done(alembic(database_url, "check"))


def test_there_is_one_head(database_url: str) -> None:
    """There is one head, which `make migration` continues."""
    assert len(done(alembic(database_url, "heads")).strip().splitlines()) == 1


def test_a_downgrade_removes_the_schema_and_an_upgrade_restores_it(fresh: str) -> None:
    """A downgrade to nothing leaves no table and no function, and the next upgrade creates the same schema."""
    done(alembic(fresh, "upgrade", "heads"))
    before = schema(fresh)
    assert {"collections", "items", "dictionaries", "stacflask_parse_instant"} <= before.keys()
    done(alembic(fresh, "downgrade", "base"))
    assert schema(fresh) == {}
    done(alembic(fresh, "upgrade", "heads"))
    assert schema(fresh) == before


def test_names_follow_the_convention(database_url: str) -> None:
    """Names of tables, functions, constraints and indexes are as docs/architecture.md states."""
    indexes = """
        SELECT c.relname AS table, i.relname AS name, x.indpred IS NOT NULL AS partial,
               array_agg(a.attname ORDER BY a.attnum) AS columns
        FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS c ON c.oid = x.indrelid
        JOIN pg_attribute AS a ON a.attrelid = i.oid
        WHERE c.relnamespace = current_schema()::regnamespace AND NOT x.indisprimary
        AND c.relname <> 'spatial_ref_sys' AND c.relname NOT LIKE 'alembic_version%'
        GROUP BY c.relname, i.relname, x.indpred
    """
    with engine(database_url).connect() as connection:
        for row in connection.execute(sa.text(indexes)):
            names = {f"{row.table}_{'_'.join(row.columns[:count])}_idx" for count in (1, 2, 3)}
            assert row.name in names or (row.partial and re.fullmatch(f"{row.table}_\\w+_idx", row.name)), row.name
        found = connection.execute(sa.text(f"SELECT proname {OWN_FUNCTIONS}")).scalars().all()
        assert found
        assert [name for name in found if not re.match(r"(stacflask|plugin_quota)_(parse|is|extend|book)_", name)] == []
        kinds = "SELECT conrelid::regclass::text, conname, contype FROM pg_constraint WHERE contype IN ('c', 'f', 'p')"
        suffixes = {"c": "check", "f": "fkey", "p": "pkey"}
        for table, name, kind in connection.execute(sa.text(kinds)):
            if table in schema_tables(connection):
                assert re.fullmatch(rf"{table}_(\w+_)?{suffixes[kind]}", name), name


def schema_tables(connection: sa.Connection) -> set[str]:
    names = set(sa.inspect(connection).get_table_names()) - {"spatial_ref_sys"}
    return {name for name in names if not name.startswith("alembic_version")}


def test_of_two_concurrent_upgrades_the_second_waits(fresh: str) -> None:
    """Releases that start at the same time both succeed."""
    both = [alembic(fresh, "upgrade", "heads") for _ in range(2)]
    for process in both:
        done(process)
    assert "collections" in schema(fresh)


def test_an_application_is_not_ready_until_its_database_is_migrated(fresh: str) -> None:
    """Without the tables or a column of this release, /health/ready is 503 NotMigrated; /health is 200."""
    from stacflask.app import create_app
    from stacflask.pluginmanager import loading

    settings = Settings.from_environ({"DATABASE_URL": fresh})
    client: Any = create_app(settings, loading.manage({})).test_client()
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json["code"]) == (503, "NotMigrated")
    assert client.get("/health").status_code == 200
    done(alembic(fresh, "upgrade", "heads"))
    assert client.get("/health/ready").status_code == 200
    with engine(fresh).begin() as connection:
        connection.execute(sa.text("ALTER TABLE items RENAME COLUMN min_height TO former"))
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json["code"]) == (503, "NotMigrated")


def test_migrations_use_the_parameters_of_the_url(fresh: str) -> None:
    """Migrations run with the options in the URL, as the server does."""
    with engine(fresh).begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA apart"))
    done(alembic(f"{fresh}?options=-c%20search_path%3Dapart,public", "upgrade", "heads"))
    with engine(fresh).begin() as connection:
        assert "items" in sa.inspect(connection).get_table_names(schema="apart")


# --- Revisions that this release does not have ------------------------------------------------------------------------


def commands(url: str, *arguments: str) -> tuple[int, list[str]]:
    """Run `stacflask` in a new process; return the exit code and the lines of its output."""
    process = subprocess.run(
        [sys.executable, "-m", "stacflask", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    return process.returncode, (process.stdout + process.stderr).splitlines()


@pytest.mark.parametrize("command", ["migrate", "check"])
def test_a_later_revision_is_an_error_of_one_line(fresh: str, command: str) -> None:
    """A database that a later release migrated: the error names the revision and what to do."""
    done(alembic(fresh, "upgrade", "heads"))
    with engine(fresh).begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    code, (line,) = commands(fresh, command)
    assert code
    assert "revision 9999, which this release does not have: a later release migrated them" in line


def as_before_the_first_revision(url: str, revision: str) -> None:
    """Name the objects as the migrations before 0.1.0 did."""
    name = sql.Identifier
    with psycopg.connect(url) as connection:
        for former, constant in from_main.FUNCTIONS.items():
            (new,) = re.findall(r"CREATE FUNCTION (\w+)", runpy.run_path(str(from_main.FIRST))[constant])
            connection.execute(sql.SQL("ALTER FUNCTION {} RENAME TO {}").format(name(new), name(former)))
        new = "plugin_quota_book_download"
        connection.execute(
            sql.SQL("ALTER FUNCTION {} RENAME TO {}").format(name(new), name(from_main.FUNCTION_OF_QUOTA))
        )
        connection.execute("DROP FUNCTION stacflask_extend_time")
        for plugin in PLUGINS:
            connection.execute(sql.SQL("DROP TABLE {}").format(name(f"alembic_version_{plugin}")))
        for (table, former), new in from_main.CONSTRAINTS.items():
            statement = sql.SQL("ALTER TABLE {} RENAME CONSTRAINT {} TO {}")
            connection.execute(statement.format(name(table), name(new), name(former)))
        for former, new in from_main.INDEXES.items():
            connection.execute(sql.SQL("ALTER INDEX {} RENAME TO {}").format(name(new), name(former)))
        for (table, former), new in from_main.COLUMNS.items():
            connection.execute(sql.SQL("ALTER TABLE {} RENAME {} TO {}").format(name(table), name(new), name(former)))
        for former, new in from_main.TABLES.items():
            connection.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(name(new), name(former)))
        connection.execute("UPDATE alembic_version SET version_num = %s", [revision])


@pytest.mark.parametrize("revision", ["0001", "0012", "0024"])
def test_a_database_from_before_the_first_revision_is_an_error_of_one_line(fresh: str, revision: str) -> None:
    """The error states that revision 0001 replaced the database's revisions, also if their numbers are the same."""
    migrate(fresh)
    as_before_the_first_revision(fresh, revision)
    for command in ("migrate", "check"):
        code, (line,) = commands(fresh, command)
        assert code
        assert f"revision {revision} of the migrations before 0.1.0" in line
        assert "python -m dev.from_main" in line


def test_a_database_from_before_the_first_revision_can_be_renamed(
    fresh: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m dev.from_main` renames a database at revision 0024, and changes no other."""
    monkeypatch.setenv("DATABASE_URL", fresh)
    migrate(fresh)
    before = schema(fresh)
    assert from_main.main() == 1
    assert "must be at revision 0024" in capsys.readouterr().err
    as_before_the_first_revision(fresh, "0024")
    assert schema(fresh) != before
    assert from_main.main() == 0
    migrate(fresh)
    assert schema(fresh) == before

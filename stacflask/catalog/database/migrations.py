"""Migrations of the schema, run by the program from any working directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from alembic import command
from stacflask.catalog.database.database_errors import translated
from stacflask.errors import StacflaskError
from stacflask.locations import MIGRATIONS

if TYPE_CHECKING:
    from stacflask.catalog.database.engine import Database


@dataclass(frozen=True, slots=True)
class Condition:
    """Versions of the database server, revisions of the database (``found``) and of this release (``heads``)."""

    postgresql: str
    postgis: str | None
    found: frozenset[str]
    heads: frozenset[str]

    @property
    def migrated(self) -> bool:
        """Whether the schema is the one that this release needs."""
        return self.found == self.heads


def migrate() -> None:
    """Migrate the database of DATABASE_URL to this release.

    Raises:
        Unavailable: The database cannot be reached, or a lock was not granted in time.
        StacflaskError: The database has revisions that this release does not have.
    """
    with translated():
        command.upgrade(_config(), "heads")


def condition(database: Database) -> Condition:
    """Return the versions and revisions of the database. Raises Unavailable, and StacflaskError as ``migrate`` does."""
    return database.read(_condition)


def _condition(connection: sa.Connection) -> Condition:
    check_revisions(connection)
    return Condition(
        connection.execute(sa.text("SHOW server_version")).scalar_one(),
        connection.execute(_POSTGIS).scalar_one_or_none(),
        _revisions(connection),
        frozenset(_scripts().get_heads()),
    )


_POSTGIS = sa.text("SELECT extversion FROM pg_extension WHERE extname = 'postgis'")


def check_revisions(connection: sa.Connection) -> None:
    """Raise StacflaskError if the database has revisions that this release does not have."""
    found = _revisions(connection)
    named = ", ".join(sorted(found))
    if found and connection.execute(_BEFORE_FIRST).scalar_one():
        raise StacflaskError(
            f"The database is at revision {named} of the migrations before 0.1.0, which this release does not have. "
            "Rename its tables with `python -m dev.from_main`, or load an export into a new database, see "
            "docs/operations.md."
        )
    if found - {script.revision for script in _scripts().walk_revisions()}:
        raise StacflaskError(
            f"The database is at revision {named}, which this release does not have: a later release migrated it. "
            "Deploy that release, or downgrade the database with it."
        )


# The revisions that 0001 replaced have the same numbers as later ones, so the name of a column decides.
_BEFORE_FIRST = sa.text("""
    SELECT count(*) > 0 AND NOT bool_or(attname = 'max_duration_seconds')
    FROM pg_attribute WHERE attrelid = to_regclass('collections')
""")


def _revisions(connection: sa.Connection) -> frozenset[str]:
    if not sa.inspect(connection).has_table("alembic_version"):
        return frozenset()
    return frozenset(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars())


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config

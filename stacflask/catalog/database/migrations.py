"""Alembic, called by the program itself, from whatever folder it is started in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from alembic import command
from stacflask.catalog.database.database_errors import translated
from stacflask.errors import StacflaskError

if TYPE_CHECKING:
    from stacflask.catalog.database.engine import Database

INI = Path(__file__).parents[3] / "alembic.ini"


@dataclass(frozen=True, slots=True)
class Condition:
    """The database's side: versions of the servers, revisions it has (``found``) and should have (``heads``)."""

    postgresql: str
    postgis: str | None
    found: frozenset[str]
    heads: frozenset[str]

    @property
    def migrated(self) -> bool:
        """Whether the tables are what this release needs."""
        return self.found == self.heads


def migrate() -> None:
    """Bring the database that DATABASE_URL names to this release. Raises Unavailable, StacflaskError."""
    with translated():
        command.upgrade(_config(), "heads")


def behind(database: Database) -> bool:
    """Whether the database lacks a revision of this release. One that a later release has added does no harm to it."""
    found = database.read(_revisions)
    heads, known = _own()
    return not found or bool((found & known) - heads)


@lru_cache(maxsize=1)
def _own() -> tuple[frozenset[str], frozenset[str]]:
    """Give this release's newest revisions, and all of its revisions."""
    script = ScriptDirectory.from_config(_config())
    return frozenset(script.get_heads()), frozenset(revision.revision for revision in script.walk_revisions())


def condition(database: Database) -> Condition:
    """Ask the database how it is. Raises Unavailable."""
    return database.read(
        lambda connection: Condition(
            connection.execute(sa.text("SHOW server_version")).scalar_one(),
            connection.execute(_POSTGIS).scalar_one_or_none(),
            _revisions(connection),
            frozenset(ScriptDirectory.from_config(_config()).get_heads()),
        )
    )


_POSTGIS = sa.text("SELECT extversion FROM pg_extension WHERE extname = 'postgis'")


def _revisions(connection: sa.Connection) -> frozenset[str]:
    if not sa.inspect(connection).has_table("alembic_version"):
        return frozenset()
    return frozenset(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars())


def _config() -> Config:
    if not INI.exists():
        raise StacflaskError(f"There is no {INI}: migrations come with a clone of the project, not with the package.")
    return Config(str(INI))

"""Migrations of the schema: the chain of stacflask, and one chain for each plugin with tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from alembic import command
from stacflask.catalog.database.database_errors import translated
from stacflask.catalog.database.engine import Database
from stacflask.errors import StacflaskError, Unavailable
from stacflask.locations import MIGRATIONS

VERSION_TABLE = "alembic_version"
"""Table with the revision of stacflask's chain. Those of plugins have this prefix."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of revisions with a version table of its own, so that no chain depends on another plugin.

    ``plugin`` is empty for the chain of stacflask.
    """

    folder: Path
    plugin: str = ""

    @property
    def version_table(self) -> str:
        """The table with the chain's revision."""
        return f"{VERSION_TABLE}_{self.plugin}" if self.plugin else VERSION_TABLE

    @property
    def scripts(self) -> ScriptDirectory:
        """The revisions in the folder."""
        return ScriptDirectory.from_config(_config(self))

    @property
    def known(self) -> frozenset[str]:
        """The revisions that this installation has."""
        return frozenset(script.revision for script in self.scripts.walk_revisions())

    @property
    def owner(self) -> str:
        """Owner of the tables, for messages."""
        return f"the plugin {self.plugin}" if self.plugin else "stacflask"


CORE = Chain(MIGRATIONS / "versions")


def chains(plugins: Mapping[str, Path]) -> list[Chain]:
    """Return the chains of stacflask and of plugins, which have their folders by name."""
    return [CORE, *(Chain(folder, plugin) for plugin, folder in plugins.items())]


@dataclass(frozen=True, slots=True)
class State:
    """Revisions of a chain in the database (``found``) and in this installation (``heads``)."""

    chain: Chain
    found: frozenset[str]
    heads: frozenset[str]

    @property
    def problem(self) -> str:
        """Why the tables cannot be used; empty if they can."""
        if not self.found:
            return f"The database has no tables of {self.chain.owner}. Run stacflask migrate."
        if self.found != self.heads:
            found, heads = (", ".join(sorted(revisions)) for revisions in (self.found, self.heads))
            return (
                f"The tables of {self.chain.owner} are at revision {found}, but {heads} is needed. "
                "Run stacflask migrate."
            )
        return ""


def migrate(wanted: Sequence[Chain]) -> None:
    """Migrate the database of DATABASE_URL to the last revision of each chain.

    Raises:
        Unavailable: The database cannot be reached, or a lock was not granted in time.
        StacflaskError: The database has revisions that this installation does not have.
    """
    for chain in wanted:
        with translated():
            command.upgrade(_config(chain), "heads")


def remove(chain: Chain) -> None:
    """Drop the tables of a chain, with their data. Raises as ``migrate`` does."""
    with translated():
        command.downgrade(_config(chain), "base")


def versions(database: Database) -> tuple[str, str | None]:
    """Return the versions of PostgreSQL and PostGIS, the latter None if it is missing. Raises Unavailable."""
    return database.read(lambda connection: (_version(connection), connection.execute(_POSTGIS).scalar_one_or_none()))


def _version(connection: sa.Connection) -> str:
    return str(connection.execute(sa.text("SHOW server_version")).scalar_one())


_POSTGIS = sa.text("SELECT extversion FROM pg_extension WHERE extname = 'postgis'")


def states(database: Database, wanted: Sequence[Chain]) -> list[State]:
    """Return the state of each chain. Raises Unavailable, and StacflaskError as ``migrate`` does."""
    return database.read(lambda connection: [_state(connection, chain) for chain in wanted])


def _state(connection: sa.Connection, chain: Chain) -> State:
    check_revisions(connection, chain)
    return State(chain, _revisions(connection, chain), frozenset(chain.scripts.get_heads()))


def check_revisions(connection: sa.Connection, chain: Chain = CORE) -> None:
    """Raise StacflaskError if the database has revisions of a chain that this installation does not have."""
    found = _revisions(connection, chain)
    named = ", ".join(sorted(found))
    if found and not chain.plugin and connection.execute(_BEFORE_FIRST).scalar_one():
        raise StacflaskError(
            f"The database is at revision {named} of the migrations before 0.1.0, which this release does not have. "
            "Load an export into a new database or, at revision 0024, rename tables with `python -m dev.from_main`. "
            "See docs/operations.md."
        )
    if found - chain.known:
        raise StacflaskError(
            f"The tables of {chain.owner} are at revision {named}, which this release does not have: a later release "
            "migrated them. Deploy that release, or downgrade the database with it."
        )


# Revisions before 0.1.0 have the same numbers as later ones, so an object that they did not create decides.
_BEFORE_FIRST = sa.text("""
    SELECT to_regclass('collections') IS NOT NULL
        AND to_regprocedure('stacflask_extend_time(timestamptz, integer, text)') IS NULL
""")


def _revisions(connection: sa.Connection, chain: Chain) -> frozenset[str]:
    if not sa.inspect(connection).has_table(chain.version_table):
        return frozenset()
    return frozenset(connection.execute(sa.text(f'SELECT version_num FROM "{chain.version_table}"')).scalars())


class PluginTables:
    """Checks that the tables of plugins are migrated, with one short statement."""

    def __init__(self, wanted: Sequence[Chain]) -> None:
        self._chains = [(chain, chain.known, frozenset(chain.scripts.get_heads())) for chain in wanted]
        parts = (f"SELECT '{one.plugin}' AS plugin, version_num FROM \"{one.version_table}\"" for one in wanted)
        self._statement = sa.text(" UNION ALL ".join(parts))

    def check(self, database: Database) -> None:
        """Raise Unavailable if tables of a plugin are missing or at an earlier revision.

        A later revision is accepted, because the code before an upgrade continues to run until it is replaced.
        """
        if not self._chains:
            return
        rows = database.read(lambda connection: connection.execute(self._statement).all())
        for chain, known, heads in self._chains:
            state = State(chain, frozenset(row.version_num for row in rows if row.plugin == chain.plugin), heads)
            if state.problem and state.found <= known:
                raise Unavailable(state.problem, code="NotMigrated")


def _config(chain: Chain) -> Config:
    config = Config(attributes={"chain": chain})
    for name, value in (("script_location", MIGRATIONS), ("version_locations", chain.folder)):
        config.set_main_option(name, str(value).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config

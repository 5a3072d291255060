"""Runs migrations of the database of DATABASE_URL: one process at a time, each revision in its own transaction.

The attribute ``chain`` of the configuration is the chain to run. The default is that of stacflask.
"""

import os

import sqlalchemy as sa
from geoalchemy2 import alembic_helpers

from alembic import context
from stacflask.catalog.database.engine import create_engine
from stacflask.catalog.database.migrations import CORE, VERSION_TABLE, check_revisions
from stacflask.catalog.database.tables import PLUGIN_PREFIX, PROPERTY_INDEX_PREFIX, metadata
from stacflask.settings import Settings

LOCK = 0x57AC
"""Key of the advisory lock. The number is arbitrary, but must be the same in all releases."""
LOCK_TIMEOUT = "10s"
POSTGIS = {"spatial_ref_sys"}


def include_object(thing: object, name: str | None, kind: str, reflected: bool, compared: object) -> bool:
    """Return whether to compare an object: not PostGIS's tables, the plugins' tables, or operators' indexes."""
    if kind == "index" and name is not None and name.startswith(PROPERTY_INDEX_PREFIX):
        return False
    if kind == "table" and name is not None and (name in POSTGIS or name.startswith((PLUGIN_PREFIX, VERSION_TABLE))):
        return False
    return alembic_helpers.include_object(thing, name, kind, reflected, compared)


def run(connection: sa.Connection) -> None:
    """Run the command that alembic was called with."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=chain.version_table,
        include_object=include_object,
        process_revision_directives=alembic_helpers.writer,
        render_item=alembic_helpers.render_item,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def set_lock_timeout(connection: sa.Connection) -> None:
    """Limit the wait for a table, because all later statements on the table wait behind the migration."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")


chain = context.config.attributes.get("chain", CORE)
settings = Settings.from_environ(os.environ)
# A pooler may refuse options in the startup packet, so they are sent only if the URL has some.
pooled = settings.transaction_pooler or "options=" not in settings.database_url
engine = create_engine(settings.database_url, pool_size=0, statement_timeout=0, pooled=pooled)
engine = engine.execution_options(isolation_level="READ COMMITTED")
# A transaction holds the lock, beside those of the revisions: with a transaction pooler, a session cannot hold one.
# Of several releases that start at once, the second waits here, and then has nothing left to do.
with engine.begin() as guard:
    guard.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
    guard.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    check_revisions(guard, chain)
    with engine.connect() as working:
        sa.event.listen(working, "begin", set_lock_timeout)
        run(working)

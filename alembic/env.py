"""How migrations run: against DATABASE_URL, one at a time, each revision in its own transaction."""

import os

import sqlalchemy as sa
from geoalchemy2 import alembic_helpers

from alembic import context
from stacflask.catalog.database.engine import create_engine
from stacflask.catalog.database.tables import PLUGIN_PREFIX, PROPERTY_INDEX_PREFIX, metadata
from stacflask.settings import Settings

LOCK = 0x57AC  # any number will do, as long as all releases use the same
LOCK_TIMEOUT = "10s"
POSTGIS = {"spatial_ref_sys"}


def ours(thing: object, name: str | None, kind: str, reflected: bool, compared: object) -> bool:
    """Leave PostGIS's tables, the plugins', and operators' indexes alone when comparing models and database."""
    if kind == "index" and name is not None and name.startswith(PROPERTY_INDEX_PREFIX):
        return False
    if kind == "table" and name is not None and (name in POSTGIS or name.startswith(PLUGIN_PREFIX)):
        return False
    return alembic_helpers.include_object(thing, name, kind, reflected, compared)


def run(connection: sa.Connection) -> None:
    """Migrate. Called under a lock: several releases may start at once, and the second then finds nothing to do."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_object=ours,
        process_revision_directives=alembic_helpers.writer,
        render_item=alembic_helpers.render_item,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def be_impatient(connection: sa.Connection) -> None:
    """A migration waiting for a table makes everyone behind it wait too: better to fail and be run again."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")


# A pooler may stand in between: nothing is kept in a session, the lock is a transaction's, beside those of the work.
settings = Settings.from_environ(os.environ)
# A pooler that refuses options at the start of a session is not sent any, unless the URL has some.
pooled = settings.transaction_pooler or "options=" not in settings.database_url
engine = create_engine(settings.database_url, pool_size=0, statement_timeout=0, pooled=pooled)
engine = engine.execution_options(isolation_level="READ COMMITTED")
with engine.begin() as guard:
    guard.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
    guard.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    with engine.connect() as working:
        sa.event.listen(working, "begin", be_impatient)
        run(working)

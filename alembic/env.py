"""How migrations run: against DATABASE_URL, one at a time, each revision in its own transaction."""

import os

import sqlalchemy as sa
from geoalchemy2 import alembic_helpers

from alembic import context
from stacflask.catalog.tables import PLUGIN_PREFIX, metadata
from stacflask.settings import Settings

LOCK = 0x57AC  # any number will do, as long as all releases use the same
LOCK_TIMEOUT = "10s"
POSTGIS = {"spatial_ref_sys"}


def ours(thing: object, name: str | None, kind: str, reflected: bool, compared: object) -> bool:
    """Leave PostGIS's tables and the plugins' alone when comparing models and database."""
    if kind == "table" and name is not None and (name in POSTGIS or name.startswith(PLUGIN_PREFIX)):
        return False
    return alembic_helpers.include_object(thing, name, kind, reflected, compared)


def run(connection: sa.Connection) -> None:
    """Migrate under a lock: several releases may start at once, and the second then finds nothing to do."""
    connection.execute(sa.text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
    # A migration waiting for a table makes everyone behind it wait too: better to fail and be run again.
    connection.execute(sa.text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.commit()
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
    connection.execute(sa.text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
    connection.commit()


engine = sa.create_engine(Settings.from_environ(os.environ).database_url, poolclass=sa.pool.NullPool)
with engine.connect() as open_connection:
    run(open_connection)

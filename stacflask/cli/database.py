"""Commands on the database: tables, extents, queryables, indexes."""

import logging
import sys

import click

from stacflask.cli.session import Session, pass_session
from stacflask.pluginmanager.loading import migrations_of


@click.command()
@click.option("--remove", metavar="PLUGIN", help="Drop the tables of this plugin, with all their data, and stop.")
@pass_session
def migrate(session: Session, remove: str | None) -> None:
    """Migrate the tables of the database to this release.

    These are the tables of stacflask and of the plugins in STACFLASK_PLUGINS. Those of other plugins stay as they are.

    You can run it at any time, and several times at once: a second run waits for the first and finds nothing to do.
    """
    from stacflask.catalog.database import migrations

    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(lambda record: record.getMessage().startswith("Running"))  # only one line per revision
    logger = logging.getLogger("alembic.runtime.migration")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    _ = session.settings  # Raises for wrong settings before anything is migrated.
    if remove is not None:
        folders = migrations_of([remove])
        for chain in migrations.chains(folders)[1:]:
            migrations.remove(chain)
        click.echo(f"Dropped the tables of {remove}." if folders else f"{remove} has no tables.")
        return
    migrations.migrate(session.chains)
    click.echo("The database is up to date.")


@click.command()
@click.argument("collections", nargs=-1)
@pass_session
def extents(session: Session, collections: tuple[str, ...]) -> None:
    """Recompute the extents of collections from their items.

    COLLECTIONS are ids; without any, all collections are recomputed. Only the first bbox and interval of each are
    replaced. A collection without items keeps its extent.
    """
    from stacflask.catalog.documents.extents import all_collections, recompute
    from stacflask.catalog.reader import Catalog

    codec = Catalog(session.database).codec
    for name in collections or tuple(session.database.read(all_collections)):
        with session.database.write() as connection:
            changed = recompute(connection, codec, name)
        click.echo(f"{name}: {'changed' if changed else 'unchanged'}")


@click.group()
def queryables() -> None:
    """Recompute queryables."""


@queryables.command("refresh")
@click.argument("collections", nargs=-1)
@pass_session
def refresh_queryables(session: Session, collections: tuple[str, ...]) -> None:
    """Recompute types, ranges and enumerations of properties from the items.

    COLLECTIONS are ids; without any, all collections are recomputed. Run it after many deletions, and once for items
    that are older than release 0.1. Loads and writes keep queryables up to date themselves. Searches, loads and writes
    continue while it runs.
    """
    from stacflask.catalog.documents.extents import all_collections
    from stacflask.catalog.properties.statistics import refresh

    for name in collections or tuple(session.database.read(all_collections)):
        click.echo(f"{name}: {refresh(session.database, name):,} items")


@click.group()
def index() -> None:
    """Index properties that searches filter and sort by.

    The server continues to work while indexes are created and dropped. Searches use a new index at once.
    """


_VALUE_TYPES = click.option(
    "--as",
    "value_types",
    type=click.Choice(["number", "string", "boolean", "time"]),
    multiple=True,
    help="Only values of this type; can be repeated. [default: the types that the items hold]",
)


_TEXT = click.option("--text", is_flag=True, help="The trigram index for free-text search (q).")


@index.command("add")
@click.argument("names", nargs=-1, metavar="[PROPERTY]...")
@_VALUE_TYPES
@_TEXT
@pass_session
def index_add(session: Session, names: tuple[str, ...], value_types: tuple[str, ...], *, text: bool) -> None:
    """Index properties.

    PROPERTY is a name such as eo:cloud_cover; without any, the properties in STACFLASK_INDEXES are indexed. Existing
    indexes are kept. An index that an interrupted run left incomplete is created again.
    """
    from stacflask.catalog.properties import indexes, text_index

    if text:
        click.echo(f"free text: {'indexed' if text_index.add(session.database) else 'indexed already'}")
    for name in indexes.property_names(names or (() if text else session.settings.indexes)):
        added = None
        for added in indexes.add(session.database, name, value_types):
            click.echo(f"{added.name}: indexed {added.rows:,} items by {added.value_type}, {_megabytes(added.size)}")
        if added is None:
            click.echo(f"{name}: indexed already")


@index.command("list")
@pass_session
def index_list(session: Session) -> None:
    """List the indexes on properties: type, items, size, and how often each was used."""
    from stacflask.catalog.properties import indexes, text_index

    for found in session.database.read(indexes.listed):
        state = f"{found.rows:,} items, {_megabytes(found.size)}, used {found.scans:,} times"
        click.echo(f"{found.name} by {found.value_type}: {state if found.valid else 'not in use: add it again'}")
    size = session.database.read(text_index.size)
    if size is not None:
        click.echo(f"free text: {_megabytes(size)}")


@index.command("drop")
@click.argument("names", nargs=-1, metavar="PROPERTY...")
@_VALUE_TYPES
@_TEXT
@pass_session
def index_drop(session: Session, names: tuple[str, ...], value_types: tuple[str, ...], *, text: bool) -> None:
    """Drop indexes on properties."""
    from stacflask.catalog.properties import indexes, text_index

    if text:
        text_index.drop(session.database)
        click.echo("free text: dropped the index")
    elif not names:
        raise click.UsageError("expected a property or --text.")
    for name in indexes.property_names(names):
        dropped = indexes.drop(session.database, name, value_types)
        for one in dropped:
            click.echo(f"{name}: dropped the index by {one.value_type}")
        if not dropped:
            click.echo(f"{name}: there was no index")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"

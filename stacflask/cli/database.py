"""Commands on the database: tables, extents, what is said of properties, indexes."""

from __future__ import annotations

import logging
import sys

import click

from stacflask.cli.session import Session, pass_session


@click.command()
@pass_session
def migrate(session: Session) -> None:
    """Bring the database's tables to this release.

    Safe to run at any time and from several places at once: whoever comes second finds nothing to do.
    """
    from stacflask.catalog.database import migrations

    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(lambda record: record.getMessage().startswith("Running"))  # each revision, and no chatter
    logger = logging.getLogger("alembic.runtime.migration")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    _ = session.settings  # complain about these first
    migrations.migrate()
    click.echo("The database is up to date.")


@click.command()
@click.argument("collections", nargs=-1)
@pass_session
def extents(session: Session, collections: tuple[str, ...]) -> None:
    """Make collections' extents from their items.

    COLLECTIONS are their ids; without any, all are done. Only the first box and interval of each are replaced; a
    collection without items keeps its own.
    """
    from stacflask.catalog.documents.extents import all_collections, recompute
    from stacflask.catalog.reader import Catalog

    codec = Catalog(session.database).codec
    for name in collections or tuple(session.database.read(all_collections)):
        with session.database.write() as connection:
            changed = recompute(connection, codec, name)
        click.echo(f"{name}: {'changed' if changed else 'as it was'}")


@click.group()
def queryables() -> None:
    """Make what is said of properties anew."""


@queryables.command("refresh")
@click.argument("collections", nargs=-1)
@pass_session
def refresh_queryables(session: Session, collections: tuple[str, ...]) -> None:
    """Make types, ranges and enumerations of properties anew from the items.

    COLLECTIONS are their ids; without any, all are done. Needed after many deletions, and once for items that were
    there before release 0.1: whatever is loaded or written is taken account of as it comes. Searches, loads and
    changes go on meanwhile.
    """
    from stacflask.catalog.documents.extents import all_collections
    from stacflask.catalog.properties.statistics import refresh

    for name in collections or tuple(session.database.read(all_collections)):
        click.echo(f"{name}: {refresh(session.database, name):,} items")


@click.group()
def index() -> None:
    """Index properties that are filtered and sorted by.

    Indexes are made and dropped while everything else goes on; searches use them at once.
    """


_FORMS = click.option(
    "--as",
    "forms",
    type=click.Choice(["number", "string", "boolean", "time"]),
    multiple=True,
    help="Only values of this type; can be repeated. [default: the types that the items hold]",
)


_TEXT = click.option("--text", is_flag=True, help="What free text (q) is looked for in, by trigrams.")


@index.command("add")
@click.argument("names", nargs=-1, metavar="[PROPERTY]...")
@_FORMS
@_TEXT
@pass_session
def index_add(session: Session, names: tuple[str, ...], forms: tuple[str, ...], *, text: bool) -> None:
    """Index properties.

    PROPERTY is a name such as eo:cloud_cover; without any, those that STACFLASK_INDEXES names are indexed. What there
    is already is left. An index that an interrupted run left unfinished is made anew.
    """
    from stacflask.catalog.properties import indexes, text_index

    if text:
        click.echo(f"free text: {'indexed' if text_index.add(session.database) else 'indexed already'}")
    for name in indexes.property_names(names or (() if text else session.settings.indexes)):
        made = None
        for made in indexes.add(session.database, name, forms):
            click.echo(f"{made.name}: indexed {made.rows:,} items by {made.value_type}, {_megabytes(made.size)}")
        if made is None:
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
@_FORMS
@_TEXT
@pass_session
def index_drop(session: Session, names: tuple[str, ...], forms: tuple[str, ...], *, text: bool) -> None:
    """Drop indexes on properties."""
    from stacflask.catalog.properties import indexes, text_index

    if text:
        text_index.drop(session.database)
        click.echo("free text: dropped the index")
    elif not names:
        raise click.UsageError("name a property, or say --text")
    for name in indexes.property_names(names):
        gone = indexes.drop(session.database, name, forms)
        for dropped in gone:
            click.echo(f"{name}: dropped the index by {dropped.value_type}")
        if not gone:
            click.echo(f"{name}: there was no index")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"

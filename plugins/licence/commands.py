"""The commands of ``stacflask licence``."""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING

import click

from .._common import text_tables
from .documents import timestamp

if TYPE_CHECKING:
    from . import Licences


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _parse_id(_: click.Context, __: click.Parameter, text: str) -> str:
    if not NAME.fullmatch(text):
        raise click.BadParameter("expected letters, digits, '.', '_' and '-', beginning with a letter or digit")
    return text


def _parse_url(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"https?://\S+", text):
        raise click.BadParameter("expected an http or https URL")
    return text


@click.command("add")
@click.argument("id", callback=_parse_id)
@click.argument("version", callback=_parse_id)
@click.option("--title", required=True, help="Title that users see.")
@click.option("--text-file", type=click.File("r", encoding="utf-8"), help="File with the text; - is standard input.")
@click.option("--url", callback=_parse_url, help="URL of the text.")
@click.pass_obj
def add(plugin: Licences, /, text_file: IO[str] | None, **values: str | None) -> None:
    """Add VERSION of licence ID as its newest version. Users who accepted an older one must accept it again."""
    text = text_file.read().strip() if text_file else None
    if not text and not values["url"]:
        raise click.UsageError("a licence needs a text (--text-file) or the URL of its text (--url)")
    if not plugin.table.add(text=text, **values):
        raise click.ClickException(f"licence {values['id']} has a version {values['version']} already")
    click.echo(f"licence {values['id']}: the newest version is {values['version']}", err=True)


@click.command("require")
@click.argument("collection")
@click.argument("licence", metavar="ID")
@click.pass_obj
def require(plugin: Licences, /, collection: str, licence: str) -> None:
    """Require licence ID for downloads from COLLECTION."""
    if not plugin.table.require(collection, licence):
        raise click.ClickException(f"there is no licence {licence!r}; add it first")
    click.echo(f"{collection} requires licence {licence}", err=True)


@click.command("unrequire")
@click.argument("collection")
@click.argument("licence", metavar="ID")
@click.pass_obj
def unrequire(plugin: Licences, /, collection: str, licence: str) -> None:
    """Stop requiring licence ID for downloads from COLLECTION."""
    if not plugin.table.unrequire(collection, licence):
        raise click.ClickException(f"collection {collection!r} does not require licence {licence!r}")
    click.echo(f"{collection} no longer requires licence {licence}", err=True)


@click.command("list")
@click.pass_obj
def show(plugin: Licences, /) -> None:
    """List all versions, the newest of each licence first, and the collections that require it."""
    rows = []
    for row in plugin.table.versions():
        since, collections = timestamp(row["created"]), ",".join(row["collections"]) or "-"
        rows.append((row["id"], row["version"], since, row["accepted"], row["title"], collections))
    text_tables.print_table(("ID", "VERSION", "SINCE", "ACCEPTED", "TITLE", "COLLECTIONS"), rows, numbers=("ACCEPTED",))


@click.command("acceptances")
@click.argument("licence", metavar="ID")
@click.pass_obj
def acceptances(plugin: Licences, /, licence: str) -> None:
    """List the principals that accepted licence ID, with version and time."""
    accepted = plugin.table.acceptances(licence)
    rows = [(timestamp(row["accepted"]), row["version"], row["principal"]) for row in accepted]
    text_tables.print_table(("ACCEPTED", "VERSION", "PRINCIPAL"), rows)

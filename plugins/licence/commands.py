"""The commands of ``stacflask licence``."""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING

import click

from plugins._common import text_tables
from plugins.licence.documents import timestamp

if TYPE_CHECKING:
    from plugins.licence import Licences

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _given_id(_: click.Context, __: click.Parameter, text: str) -> str:
    if not NAME.fullmatch(text):
        raise click.BadParameter("expected letters, digits, '.', '_' and '-', the first a letter or digit")
    return text


def _given_url(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"https?://\S+", text):
        raise click.BadParameter("expected an http or https address")
    return text


@click.command("add")
@click.argument("id", callback=_given_id)
@click.argument("version", callback=_given_id)
@click.option("--title", required=True, help="What people call it.")
@click.option("--text-file", type=click.File("r", encoding="utf-8"), help="The text itself; - is standard input.")
@click.option("--url", callback=_given_url, help="Where it can be read.")
@click.pass_obj
def add(plugin: Licences, /, text_file: IO[str] | None, **values: str | None) -> None:
    """Add VERSION of licence ID. It is the newest from now on: whoever accepted an older one is asked again."""
    text = text_file.read().strip() if text_file else None
    if not text and not values["url"]:
        raise click.UsageError("a licence needs its text (--text-file) or an address where it can be read (--url)")
    if not plugin.table.add(text=text, **values):
        raise click.ClickException(f"licence {values['id']} has a version {values['version']} already")
    click.echo(f"licence {values['id']} is at version {values['version']} from now on", err=True)


@click.command("require")
@click.argument("collection")
@click.argument("licence", metavar="ID")
@click.pass_obj
def require(plugin: Licences, /, collection: str, licence: str) -> None:
    """Let COLLECTION ask for licence ID before downloads."""
    if not plugin.table.require(collection, licence):
        raise click.ClickException(f"there is no licence {licence!r}")
    click.echo(f"{collection} asks for licence {licence}", err=True)


@click.command("unrequire")
@click.argument("collection")
@click.argument("licence", metavar="ID")
@click.pass_obj
def unrequire(plugin: Licences, /, collection: str, licence: str) -> None:
    """Let COLLECTION ask for licence ID no more."""
    if not plugin.table.unrequire(collection, licence):
        raise click.ClickException(f"collection {collection!r} does not ask for licence {licence!r}")
    click.echo(f"{collection} asks for licence {licence} no more", err=True)


@click.command("list")
@click.pass_obj
def show(plugin: Licences, /) -> None:
    """List all versions, the newest of each licence first, and the collections that ask for it."""
    rows = []
    for row in plugin.table.versions():
        since, collections = timestamp(row["created"]), ",".join(row["collections"]) or "-"
        rows.append((row["id"], row["version"], since, row["accepted"], row["title"], collections))
    text_tables.show(("ID", "VERSION", "SINCE", "ACCEPTED", "TITLE", "COLLECTIONS"), rows, numbers=("ACCEPTED",))


@click.command("acceptances")
@click.argument("licence", metavar="ID")
@click.pass_obj
def acceptances(plugin: Licences, /, licence: str) -> None:
    """List who accepted licence ID, in which version and when."""
    accepted = plugin.table.acceptances(licence)
    rows = [(timestamp(row["accepted"]), row["version"], row["principal"]) for row in accepted]
    text_tables.show(("ACCEPTED", "VERSION", "PRINCIPAL"), rows)

"""The commands of ``stacflask links``."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from plugins._common import text_tables
from plugins.links.making import described
from plugins.links.table import KEPT

if TYPE_CHECKING:
    from plugins.links import Links


@click.command("key")
@click.argument("name", required=False)
def make_key(name: str | None) -> None:
    """Make a key for STACFLASK_LINKS_KEYS. Put it first; take the old one away when its links have ended."""
    name = name or f"k{datetime.now(UTC):%Y%m%d}"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name):
        raise click.BadParameter("expected up to 32 letters, digits, '_' and '-'")
    click.echo(f"{name}:{secrets.token_urlsafe(32)}")


@click.command("list")
@click.option("--maker", help="Only the links of this principal.")
@click.pass_obj
def list_links(plugin: Links, /, maker: str | None) -> None:
    """List the newest links; never the links themselves."""
    rows = []
    for row in plugin.table.all(maker):
        shown = described(row)
        used = "-" if row["downloads"] is None else f"{row['used']}/{row['downloads']}"
        state = (shown["state"], shown["expires"], used)
        rows.append((row["id"], row["maker"], *state, row["path"], row["note"] or ""))
    text_tables.print_table(("ID", "MAKER", "STATE", "EXPIRES", "USED", "OPENS", "NOTE"), rows)


@click.command("revoke")
@click.argument("link_id", metavar="[ID]", required=False)
@click.option("--maker", help="All links of this principal.")
@click.pass_obj
def revoke_links(plugin: Links, /, link_id: str | None, maker: str | None) -> None:
    """End the link ID, or all of a maker. Running servers notice within the seconds of STACFLASK_LINKS_CACHE."""
    if (link_id is None) == (maker is None):
        raise click.UsageError("say an id, or --maker")
    ended = plugin.table.revoke(link_id, maker)
    if not ended:
        raise click.ClickException("there is no such link in force")
    click.echo(f"revoked {len(ended)}", err=True)


@click.command("prune")
@click.pass_obj
def prune_links(plugin: Links, /) -> None:
    """Delete what is kept of links that ended thirty days ago."""
    click.echo(f"deleted {plugin.table.prune(KEPT)} rows", err=True)

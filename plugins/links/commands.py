"""The commands of ``stacflask links``."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from .._common import text_tables
from .creators import description
from .table import PRUNE_AFTER_DAYS

if TYPE_CHECKING:
    from . import Links


@click.command("key")
@click.argument("name", required=False)
def make_key(name: str | None) -> None:
    """Create a key for STACFLASK_LINKS_KEYS. Put it first; remove the old one after its links have expired."""
    name = name or f"k{datetime.now(UTC):%Y%m%d}"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name):
        raise click.BadParameter("expected 1 to 32 letters, digits, '_' and '-'")
    click.echo(f"{name}:{secrets.token_urlsafe(32)}")


@click.command("list")
@click.option("--principal", help="Only the links of this principal.")
@click.pass_obj
def list_links(plugin: Links, /, principal: str | None) -> None:
    """List the newest links with their state. The links themselves are not stored."""
    rows = []
    for row in plugin.table.all(principal):
        shown = description(row)
        used = "-" if row["downloads"] is None else f"{row['used']}/{row['downloads']}"
        state = (shown["state"], shown["expires"], used)
        rows.append((row["id"], row["principal"], *state, row["path"], row["note"] or ""))
    text_tables.print_table(("ID", "PRINCIPAL", "STATE", "EXPIRES", "USED", "OPENS", "NOTE"), rows)


@click.command("revoke")
@click.argument("link_id", metavar="[ID]", required=False)
@click.option("--principal", help="All links of this principal.")
@click.pass_obj
def revoke_links(plugin: Links, /, link_id: str | None, principal: str | None) -> None:
    """Revoke the link ID, or all links of a principal. It takes effect within STACFLASK_LINKS_CACHE seconds."""
    if (link_id is None) == (principal is None):
        raise click.UsageError("expected either an ID or --principal")
    revoked = plugin.table.revoke(link_id, principal)
    if not revoked:
        raise click.ClickException("there is no such link that is valid")
    click.echo(f"revoked {len(revoked)} links", err=True)


@click.command("prune")
@click.pass_obj
def prune_links(plugin: Links, /) -> None:
    """Delete links that expired more than thirty days ago."""
    click.echo(f"deleted {plugin.table.prune(PRUNE_AFTER_DAYS)} rows", err=True)

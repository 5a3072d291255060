"""The commands of ``stacflask sessions``."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

import click

from .._common import text_tables

if TYPE_CHECKING:
    from . import Logins


@click.command("list")
@click.pass_obj
def list_sessions(plugin: Logins, /) -> None:
    """List the open sessions, newest first."""
    rows = []
    for row in plugin.sessions.all():
        times = [row[name].astimezone(UTC).strftime("%Y-%m-%d %H:%M") for name in ("created", "expires")]
        rows.append((row["principal"], row["provider"], *times, ",".join(row["groups"]) or "-"))
    text_tables.print_table(("PRINCIPAL", "PROVIDER", "SINCE (UTC)", "UNTIL (UTC)", "GROUPS"), rows)


@click.command("end")
@click.argument("principal")
@click.pass_obj
def end_sessions(plugin: Logins, /, principal: str) -> None:
    """End all sessions of PRINCIPAL. It takes effect in running servers within STACFLASK_LOGIN_CACHE seconds."""
    number = plugin.sessions.end_all(principal)
    if not number:
        raise click.ClickException(f"{principal!r} has no session")
    click.echo(f"ended {number} sessions", err=True)

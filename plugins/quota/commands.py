"""The commands of ``stacflask quota``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from stacflask import Principal

from .._common import text_tables
from .._common.durations import format_duration, parse_duration
from .._common.groups import is_plain, names_of, warn_unknown
from .limits import BYTES, DAY, DOWNLOADS, UNLIMITED, LimitRow, quota_state
from .sizes import format_size, parse_size

if TYPE_CHECKING:
    from . import Quota


def _parse_group(_: click.Context, __: click.Parameter, group: str) -> str:
    if not is_plain(group):
        raise click.BadParameter(f"{group!r} is not a valid name: expected printable characters, not only spaces")
    return group


def _parse_amount(_: click.Context, option: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    if text.lower() == "unlimited":
        return UNLIMITED
    try:
        number = parse_size(text) if option.name == "volume" else int(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not 0 <= number < UNLIMITED:
        raise click.BadParameter("expected a number from 0 to less than 10^18")
    return number


def _parse_window(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        seconds = int(parse_duration(text).total_seconds())
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not 0 < seconds < 10**9:
        raise click.BadParameter("expected a duration from 1s to about thirty years")
    return seconds


@click.command("set")
@click.argument("group", callback=_parse_group)
@click.option("--downloads", callback=_parse_amount, help="Number of downloads, or unlimited.")
@click.option("--bytes", "volume", callback=_parse_amount, help="Size: 500GB, 1.5TiB, or unlimited.")
@click.option("--window", callback=_parse_window, help="Duration: 15m, 24h, 30d.  [default: 24h, if new]")
@click.pass_obj
def set_limits(plugin: Quota, /, group: str, downloads: int | None, volume: int | None, window: int | None) -> None:
    """Set limits of GROUP. Limits that you do not name stay.

    A principal in several groups has the largest limits. Special groups: * everybody, @ everybody with credentials.
    """

    def changed(before: Mapping[str, Any]) -> LimitRow:
        named = (downloads, volume, window)
        kept = [before.get(column) for column in ("downloads", "bytes", "window_seconds")]
        after = [old if new is None else new for old, new in zip(kept, named, strict=True)]
        if after[:2] == [None, None]:
            raise click.UsageError("expected --downloads, --bytes or both (`unset` removes limits)")
        return after[0], after[1], after[2] or DAY

    if downloads is None and volume is None and window is None:
        raise click.UsageError("expected --downloads, --bytes or --window (`unset` removes limits)")
    before, after = plugin.table.change(group, changed)
    old = _limits_text(before["downloads"], before["bytes"], before["window_seconds"]) if before else ""
    replaced = f" (was {old})" if old and old != _limits_text(*after) else ""
    click.echo(f"{group}: {_limits_text(*after)}{replaced}", err=True)
    warn_unknown(plugin.storage, [group])


def _limits_text(downloads: int | None, volume: int | None, window: int) -> str:
    amounts = ((DOWNLOADS, downloads), (BYTES, volume))
    limits = [f"{dimension} {_formatted(dimension, amount)}" for dimension, amount in amounts if amount is not None]
    return f"{' and '.join(limits)} in {format_duration(window)}"


@click.command("unset")
@click.argument("group")
@click.pass_obj
def unset_limits(plugin: Quota, /, group: str) -> None:
    """Remove the limits of GROUP."""
    if not plugin.table.unset(group):
        raise click.ClickException(f"group {group!r} has no limits")
    click.echo(f"{group}: no limits", err=True)


@click.command("list")
@click.pass_obj
def list_limits(plugin: Quota, /) -> None:
    """List the limits. A principal in several groups has the largest; one in none has no limit."""
    rows = []
    for row in plugin.table.all():
        amounts = [_formatted(dimension, row[dimension]) for dimension in (DOWNLOADS, BYTES)]
        rows.append((row["group_name"], *amounts, format_duration(row["window_seconds"])))
    columns = ("GROUP", "DOWNLOADS", "BYTES", "WINDOW")
    text_tables.print_table(columns, rows, numbers=columns[1:])


def _formatted(dimension: str, amount: int | None) -> str:
    if amount is None:
        return "-"
    if amount >= UNLIMITED:
        return "unlimited"
    return format_size(amount) if dimension == BYTES else str(amount)


@click.command("show")
@click.argument("principal")
@click.option("--group", "groups", multiple=True, help="A group of the principal, to which limits apply; repeatable.")
@click.pass_obj
def show_usage(plugin: Quota, /, principal: str, groups: tuple[str, ...]) -> None:
    """Show what PRINCIPAL has used and what is left."""
    scheme = "" if principal == "anonymous" else "any"
    limits = plugin.table.limits(names_of(Principal(principal, frozenset(groups), scheme)))
    if not limits:
        raise click.ClickException("no limit applies; add the principal's groups with --group")
    rows = []
    for dimension, now in quota_state(limits, plugin.table.usage(principal, limits)).items():
        amounts = [_formatted(dimension, now[name]) for name in ("limit", "used", "left")]
        rows.append((dimension, *amounts, format_duration(now["window"])))
    columns = ("", "LIMIT", "USED", "LEFT", "WINDOW")
    text_tables.print_table(columns, rows, numbers=columns[1:])


@click.command("prune")
@click.pass_obj
def prune(plugin: Quota, /) -> None:
    """Delete usage that is older than all windows, also of principals without new requests."""
    click.echo(f"deleted {plugin.table.prune()} rows", err=True)

"""``stacflask usage``: reports over the audit's records, stores' logs beside them, and forgetting whose they are."""

from __future__ import annotations

import gzip
import io
import zlib
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import click
import orjson

from plugins._common.spans import span
from plugins.audit import report_tables
from plugins.audit.access_logs import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from plugins.audit import Audit

BATCH = 5000  # lines of a log in one statement
LARGEST = 2**63 - 1  # what a sum is written as at most: a publisher may have said anything of a file's size
KEYS = {
    "day": "to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    "month": "to_char(at AT TIME ZONE 'UTC', 'YYYY-MM')",
    "collection": "collection",
    "item": "coalesce(item, '')",
    "asset": "asset",
    "principal": "coalesce(principal, '(forgotten)')",
    "group": "member",
    "delivery": "coalesce(delivery, '-')",
    "reason": "coalesce(\"by\" || ': ' || reason, '')",
}
"""By what can be summed up, and how that is told from a record."""
GROUPS = (
    "CROSS JOIN LATERAL unnest(CASE WHEN principal IS NULL THEN ARRAY['(forgotten)'] WHEN cardinality(groups) > 0 "
    "THEN groups ELSE ARRAY['-'] END) AS member"
)
SUMS = f"""
    count(*) FILTER (WHERE event = 'granted' AND coalesce(first, 0) = 0) AS downloads,
    count(*) FILTER (WHERE event = 'granted') AS requests,
    count(*) FILTER (WHERE event = 'refused') AS refused,
    CAST(least(coalesce(sum(length) FILTER (WHERE event = 'granted'), 0), {LARGEST}) AS bigint) AS granted_bytes,
    CAST(least(coalesce(sum(a.sent) FILTER (WHERE event = 'finished'), 0), {LARGEST}) AS bigint) AS streamed_bytes,
    count(*) FILTER (WHERE event = 'finished' AND NOT complete) AS cut,
    CAST(least(coalesce(sum(t.sent), 0), {LARGEST}) AS bigint) AS taken_bytes
"""
NUMBERS = ("downloads", "requests", "refused", "granted_bytes", "streamed_bytes", "cut", "taken_bytes")
WHERE = (
    "at >= :since AND at < :until AND (CAST(:collection AS text) IS NULL OR collection = :collection) "
    "AND (CAST(:principal AS text) IS NULL OR principal = :principal)"
)
FROM = (
    "plugin_audit AS a LEFT JOIN (SELECT id, sum(sent) AS sent FROM plugin_audit_taken WHERE at >= :since GROUP BY id) "
    "AS t ON event = 'granted' AND t.id = a.id"
)
LISTED = (
    'at, event, principal, groups, scheme, credential, address, agent, method, collection, item, asset, path, "by", '
    "reason, code, others, "
    "delivery, declared, first, length, sent, complete, seconds, request, id"
)
TAKE = (
    "INSERT INTO plugin_audit_taken (log_entry, at, id, bucket, key, status, sent) "
    "SELECT log_entry, at, id, bucket, key, status, sent "
    "FROM jsonb_populate_recordset(NULL::plugin_audit_taken, CAST(:rows AS jsonb)) AS new "
    "ON CONFLICT DO NOTHING RETURNING id IS NOT NULL AS ours"
)


def group(plugin: Audit) -> click.Group:
    """Make the commands."""
    return click.Group(
        "usage",
        commands=[show, records, import_logs, forget, prune],
        help="See who took what, by day, collection, principal or group, and keep the records in order.",
        context_settings={"obj": plugin},
    )


# --- Options ---------------------------------------------------------------------------------------------------------


def _time(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    """Read a date, a time, or a span before now. What has no zone is UTC."""
    if text is None:
        return None
    try:
        return datetime.now(UTC) - span(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter("expected a date or time (2026-01-31), or a span before now (30d)") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _span(_: click.Context, __: click.Parameter, text: str | None) -> timedelta | None:
    try:
        return span(text) if text is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


SINCE = click.option("--since", callback=_time, default="30d", show_default=True, help="A date, time, or 12h, 30d.")
UNTIL = click.option("--until", callback=_time, help="A date or time, itself not included. [default: now]")
COLLECTION = click.option("--collection", metavar="ID", help="Only of this collection.")
PRINCIPAL = click.option("--principal", metavar="ID", help="Only of this principal.")
OUTPUT = click.option("-o", "--output", type=click.Path(dir_okay=False, allow_dash=True), default="-", help="A file.")


def _where(since: datetime, until: datetime | None, collection: str | None, principal: str | None) -> dict[str, Any]:
    return {
        "since": since,
        "until": until or datetime.now(UTC),
        "collection": collection,
        "principal": principal,
    }


def _write(content: bytes, output: str) -> None:
    with click.open_file(output, "wb", atomic=output != "-") as file:
        file.write(content)


# --- Reports ---------------------------------------------------------------------------------------------------------


@click.command("show")
@click.option("--by", type=click.Choice(list(KEYS)), multiple=True, default=("day",), show_default=True, help="Repeat.")
@SINCE
@UNTIL
@COLLECTION
@PRINCIPAL
@click.option("--format", "form", type=click.Choice(report_tables.FORMS), default="table", show_default=True)
@OUTPUT
@click.pass_obj
def show(
    plugin: Audit,
    /,
    by: Sequence[str],
    since: datetime,
    until: datetime | None,
    collection: str | None,
    principal: str | None,
    form: str,
    output: str,
) -> None:
    """Sum up downloads and bytes.

    downloads: granted, from their first byte. requests: all that were granted, further ranges too. granted_bytes: what
    was announced, for a redirect as file:size says. streamed_bytes: what left through this server. taken_bytes: what
    stores' logs say was taken by redirect, once they are imported. Who is in several groups counts in each.
    """
    title = f"Usage by {', '.join(by)}"
    rows = plugin.table.storage.rows(_sums(by), **_where(since, until, collection, principal))
    try:
        _write(report_tables.render(form, title, list(by), rows, [*by, *NUMBERS]), output)
    except ImportError as error:
        raise click.ClickException(f"{form} needs the package pyarrow: pip install pyarrow") from error


def _sums(by: Sequence[str]) -> str:
    keys = ", ".join(f'{KEYS[key]} AS "{key}"' for key in by)
    places = ", ".join(str(place + 1) for place in range(len(by)))
    members = GROUPS if "group" in by else ""
    return f"SELECT {keys}, {SUMS} FROM {FROM} {members} WHERE {WHERE} GROUP BY {places} ORDER BY {places}"


@click.command("records")
@SINCE
@UNTIL
@COLLECTION
@PRINCIPAL
@click.option("--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
@OUTPUT
@click.pass_obj
def records(
    plugin: Audit,
    /,
    since: datetime,
    until: datetime | None,
    collection: str | None,
    principal: str | None,
    form: str,
    output: str,
) -> None:
    """List each event: who took or was refused what, and which plugin said so and why."""
    sql = f"SELECT {LISTED} FROM plugin_audit WHERE {WHERE} ORDER BY at"
    rows = plugin.table.storage.rows(sql, **_where(since, until, collection, principal))
    _write(report_tables.render(form, "Events", [], rows, LISTED.replace('"', "").split(", ")), output)


# --- Stores' logs ----------------------------------------------------------------------------------------------------


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.pass_obj
def import_logs(plugin: Audit, /, files: Sequence[str]) -> None:
    """Import S3 server access logs (Amazon's format; compressed with gzip or not; - is standard input).

    What was taken by redirect is then known, and not only what was granted. A log imported twice counts once.
    """
    reading, new, ours = Reading(), 0, 0
    for name in files:
        with _opened(name) as lines:
            taken = reading.taken(_whole(lines, name))
            while batch := list(islice(taken, BATCH)):
                rows = orjson.dumps([asdict(one) for one in batch]).decode()
                with plugin.table.storage.transaction() as statements:
                    added = statements.rows(TAKE, rows=rows)
                new, ours = new + len(added), ours + sum(row["ours"] for row in added)
    click.echo(
        f"{reading.lines} lines, {new} requests that took bytes were new, {ours} of them by our grants, "
        f"{reading.strange} lines not understood",
        err=True,
    )
    if reading.lines and reading.strange == reading.lines:
        raise click.ClickException("no line is in the format of S3 server access logs")


def _whole(lines: IO[str], name: str) -> Iterator[str]:
    """Give the lines of a file that can be read to its end. Raises ClickException."""
    try:
        yield from lines
    except (EOFError, OSError, zlib.error) as error:
        raise click.ClickException(f"{name} cannot be read to its end: {error}") from error


def _opened(name: str) -> IO[str]:
    raw: Any = click.open_file(name, "rb")
    buffer: Any = io.BufferedReader(raw)
    if buffer.peek(2)[:2] == b"\x1f\x8b":
        buffer = gzip.GzipFile(fileobj=buffer)
    return io.TextIOWrapper(buffer, encoding="utf-8", errors="replace")


# --- Forgetting ------------------------------------------------------------------------------------------------------


@click.command("forget")
@click.option("--older-than", callback=_span, help="90d, 12w. [default: STACFLASK_AUDIT_KEEP_PERSONAL]")
@click.pass_obj
def forget(plugin: Audit, /, older_than: timedelta | None) -> None:
    """Forget whose old records are: principal, groups, credential, address, agent and request id. The sums stay."""
    age = older_than or plugin.settings.keep
    if age is None:
        raise click.UsageError("say --older-than, or set STACFLASK_AUDIT_KEEP_PERSONAL")
    click.echo(f"forgot whose {plugin.table.forget(datetime.now(UTC) - age)} events were", err=True)


@click.command("prune")
@click.option("--older-than", callback=_span, required=True, help="1825d, 520w.")
@click.pass_obj
def prune(plugin: Audit, /, older_than: timedelta) -> None:
    """Delete old records, and what stores' logs say of that time. The sums go, too."""
    before = datetime.now(UTC) - older_than
    with plugin.table.storage.transaction() as statements:
        deleted = [
            len(statements.rows(f"DELETE FROM {table} WHERE at < :before RETURNING 1", before=before))
            for table in ("plugin_audit", "plugin_audit_taken")
        ]
    click.echo(f"deleted {deleted[0]} events and {deleted[1]} lines of stores' logs", err=True)

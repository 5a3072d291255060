"""``stacflask usage``: reports, the list of records, import of store logs, and deletion of old data."""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import IO, Any

import click
import orjson

from .._common.durations import parse_duration
from . import report_tables
from .access_logs import LogReader
from .recorder import Recorder

BATCH_LINES = 5000
MAX_SUM = 2**63 - 1
"""The largest sum in a report: a publisher may have declared any size, so that a sum may be larger."""
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
"""The columns by which a report can sum up, and their SQL."""
GROUPS = (
    "CROSS JOIN LATERAL unnest(CASE WHEN principal IS NULL THEN ARRAY['(forgotten)'] WHEN cardinality(groups) > 0 "
    "THEN groups ELSE ARRAY['-'] END) AS member"
)
SUMS = f"""
    count(*) FILTER (WHERE event = 'granted' AND coalesce(first, 0) = 0) AS downloads,
    count(*) FILTER (WHERE event = 'granted') AS requests,
    count(*) FILTER (WHERE event = 'refused') AS refused,
    CAST(least(coalesce(sum(length) FILTER (WHERE event = 'granted'), 0), {MAX_SUM}) AS bigint) AS granted_bytes,
    CAST(least(coalesce(sum(a.sent) FILTER (WHERE event = 'finished'), 0), {MAX_SUM}) AS bigint) AS streamed_bytes,
    count(*) FILTER (WHERE event = 'finished' AND NOT complete) AS cut,
    CAST(least(coalesce(sum(t.sent), 0), {MAX_SUM}) AS bigint) AS redirected_bytes
"""
NUMBERS = ("downloads", "requests", "refused", "granted_bytes", "streamed_bytes", "cut", "redirected_bytes")
WHERE = (
    "at >= :since AND at < :until AND (CAST(:collection AS text) IS NULL OR collection = :collection) "
    "AND (CAST(:principal AS text) IS NULL OR principal = :principal)"
)
FROM = (
    "plugin_audit_events AS a LEFT JOIN "
    "(SELECT id, sum(sent) AS sent FROM plugin_audit_store_requests WHERE at >= :since GROUP BY id) AS t "
    "ON event = 'granted' AND t.id = a.id"
)
LISTED = (
    'at, event, principal, groups, scheme, credential, address, agent, method, collection, item, asset, path, "by", '
    "reason, code, others, "
    "delivery, declared, first, length, sent, complete, seconds, request, id"
)
INSERT_DOWNLOADS = (
    "INSERT INTO plugin_audit_store_requests (log_entry, at, id, bucket, key, status, sent) "
    "SELECT log_entry, at, id, bucket, key, status, sent "
    "FROM jsonb_populate_recordset(NULL::plugin_audit_store_requests, CAST(:rows AS jsonb)) AS new "
    "ON CONFLICT DO NOTHING RETURNING id IS NOT NULL AS granted"
)


def group(recorder: Recorder) -> click.Group:
    """Return the command group."""
    return click.Group(
        "usage",
        commands=[show, records, import_logs, forget, prune],
        help="Report downloads by day, collection, principal or group, and delete old records.",
        context_settings={"obj": recorder},
    )


# --- Options ---------------------------------------------------------------------------------------------------------


def _time(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    """Parse a date, a time, or a duration before now. Without a zone it is in UTC."""
    if text is None:
        return None
    try:
        return datetime.now(UTC) - parse_duration(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter("expected a date or time (2026-01-31), or a duration before now (30d)") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _duration(_: click.Context, __: click.Parameter, text: str | None) -> timedelta | None:
    try:
        return parse_duration(text) if text is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


SINCE = click.option(
    "--since", callback=_time, default="30d", show_default=True, help="Start: a date, a time, or a duration before now."
)
UNTIL = click.option("--until", callback=_time, help="End (exclusive): a date or time. [default: now]")
COLLECTION = click.option("--collection", metavar="ID", help="Only this collection.")
PRINCIPAL = click.option("--principal", metavar="ID", help="Only this principal.")
OUTPUT = click.option(
    "-o", "--output", type=click.Path(dir_okay=False, allow_dash=True), default="-", help="File to write to."
)


def _selection(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select records."""
    for option in (PRINCIPAL, COLLECTION, UNTIL, SINCE):
        command = option(command)
    return command


def _where(until: datetime | None, **others: Any) -> dict[str, Any]:
    return {"until": until or datetime.now(UTC), **others}


def _write(content: bytes, output: str) -> None:
    with click.open_file(output, "wb", atomic=output != "-") as file:
        file.write(content)


# --- Reports ---------------------------------------------------------------------------------------------------------


@click.command("show")
@click.option(
    "--by", type=click.Choice(list(KEYS)), multiple=True, default=("day",), show_default=True, help="Repeatable."
)
@_selection
@click.option("--format", "form", type=click.Choice(report_tables.FORMS), default="table", show_default=True)
@OUTPUT
@click.pass_obj
def show(recorder: Recorder, /, by: Sequence[str], form: str, output: str, **selected: Any) -> None:
    """Sum up downloads and bytes.

    downloads: granted downloads that begin at the first byte. requests: all granted requests, with further ranges.
    granted_bytes: the announced bytes; for a redirect those of file:size. streamed_bytes: bytes that this server sent.
    redirected_bytes: bytes that were downloaded by redirect, according to imported store logs. A principal in several
    groups counts in each.
    """
    title = f"Usage by {', '.join(by)}"
    rows = recorder.table.storage.rows(_sums(by), **_where(**selected))
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
@_selection
@click.option("--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
@OUTPUT
@click.pass_obj
def records(recorder: Recorder, /, form: str, output: str, **selected: Any) -> None:
    """List each event: the principal, the asset, the decision, and the plugin that made it with its reason."""
    sql = f"SELECT {LISTED} FROM plugin_audit_events WHERE {WHERE} ORDER BY at"
    rows = recorder.table.storage.rows(sql, **_where(**selected))
    _write(report_tables.render(form, "Events", [], rows, LISTED.replace('"', "").split(", ")), output)


# --- Store logs ------------------------------------------------------------------------------------------------------


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.pass_obj
def import_logs(recorder: Recorder, /, files: Sequence[str]) -> None:
    """Import S3 server access logs (Amazon's format; compressed with gzip or not; - is standard input).

    Reports then have the bytes that clients downloaded by redirect. A log that is imported twice counts once.
    """
    reader, new, granted = LogReader(), 0, 0
    for name in files:
        with _opened(name) as lines:
            downloads = reader.downloads(_complete(lines, name))
            while batch := list(islice(downloads, BATCH_LINES)):
                rows = orjson.dumps([asdict(one) for one in batch]).decode()
                added = recorder.table.storage.write(INSERT_DOWNLOADS, rows=rows)
                new, granted = new + len(added), granted + sum(row["granted"] for row in added)
    click.echo(
        f"{reader.lines} lines, {new} new downloads, {granted} of them with a grant of this server, "
        f"{reader.malformed} malformed lines",
        err=True,
    )
    if reader.lines and reader.malformed == reader.lines:
        raise click.ClickException("no line is in the format of S3 server access logs")


def _complete(lines: IO[str], name: str) -> Iterator[str]:
    """Yield the lines of a file. Raises ClickException if it is damaged."""
    try:
        yield from lines
    except (EOFError, OSError, zlib.error) as error:
        raise click.ClickException(f"{name} is damaged or incomplete: {error}") from error


def _opened(name: str) -> IO[str]:
    raw: Any = click.open_file(name, "rb")
    buffer: Any = io.BufferedReader(raw)
    if buffer.peek(2)[:2] == b"\x1f\x8b":
        buffer = gzip.GzipFile(fileobj=buffer)
    return io.TextIOWrapper(buffer, encoding="utf-8", errors="replace")


# --- Deletion --------------------------------------------------------------------------------------------------------


@click.command("forget")
@click.option("--older-than", callback=_duration, help="A duration: 90d, 12w. [default: STACFLASK_AUDIT_KEEP_PERSONAL]")
@click.pass_obj
def forget(recorder: Recorder, /, older_than: timedelta | None) -> None:
    """Delete personal data in old records: principal, groups, credential, address, agent, request id. Sums stay."""
    age = older_than or recorder.settings.keep
    if age is None:
        raise click.UsageError("no age: add --older-than, or set STACFLASK_AUDIT_KEEP_PERSONAL")
    number = recorder.table.forget(datetime.now(UTC) - age)
    click.echo(f"deleted personal data of {number} events", err=True)


@click.command("prune")
@click.option("--older-than", callback=_duration, required=True, help="A duration: 1825d, 520w.")
@click.pass_obj
def prune(recorder: Recorder, /, older_than: timedelta) -> None:
    """Delete old records and imported lines of store logs. Reports no longer have them."""
    before = datetime.now(UTC) - older_than
    deleted = [
        len(recorder.table.storage.write(f"DELETE FROM {table} WHERE at < :before RETURNING 1", before=before))
        for table in ("plugin_audit_events", "plugin_audit_store_requests")
    ]
    click.echo(f"deleted {deleted[0]} events and {deleted[1]} lines of store logs", err=True)

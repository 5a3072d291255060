"""Commands on documents: load, export, delete."""

from __future__ import annotations

import gzip
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from stacflask.cli.errors import REFUSED, print_error
from stacflask.cli.session import Session, pass_session
from stacflask.model.asset import Change

if TYPE_CHECKING:
    from stacflask.catalog.bulk.copy import WriteMethod
    from stacflask.catalog.bulk.load import LoadResult
    from stacflask.catalog.documents.stored_hrefs import Addresses


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "--method",
    type=click.Choice(["insert", "upsert", "ignore"]),
    default="insert",
    show_default=True,
    help="If a document exists already: report an error, replace it, or keep the existing one.",
)
@click.option("--collection", metavar="ID", help="The collection of items that have no collection.")
@click.option(
    "--on-error",
    type=click.Choice(["stop", "continue"]),
    default="stop",
    show_default=True,
    help="Whether a refused document stops the load.",
)
@click.option("--max-errors", type=click.IntRange(min=0), help="Continue until more than this many are refused.")
@click.option(
    "--validate/--no-validate", default=None, help="Validate against the JSON Schemas of STAC and its extensions."
)
@click.option("--repair", is_flag=True, help="Correct times to RFC 3339, and list the changes.")
@click.option(
    "--workers", type=click.IntRange(min=0), help="Number of processes; 0 uses only this one. [default: one per core]"
)
@click.option("--quiet", is_flag=True, help="Show no progress.")
@pass_session
def load(
    session: Session,
    *,
    files: tuple[str, ...],
    method: WriteMethod,
    collection: str | None,
    on_error: str,
    max_errors: int | None,
    validate: bool | None,
    repair: bool,
    workers: int | None,
    quiet: bool,
) -> int:
    """Load collections and items from files.

    FILES can be "-" for standard input. Each contains newline-delimited JSON or one document: an item, a collection, an
    item collection, a list of collections, or an array of these. Files can be compressed with gzip. Collections are
    loaded before items.

    Each refused document is reported with its line and the place in it. The exit code is 0 if all documents were
    loaded, 1 if some were refused, 2 if the load failed. You can run an interrupted load again with --method upsert or
    ignore.
    """
    from stacflask.catalog.bulk.input_files import size_of
    from stacflask.catalog.bulk.load import LoadResult, Plan
    from stacflask.catalog.bulk.load import load as bulk_load
    from stacflask.catalog.documents.documents import Managed
    from stacflask.cli.href_warnings import warn

    size = size_of(files)
    stop = on_error == "stop" and max_errors is None
    plan = Plan(
        session.settings.database_url,
        Managed(session.settings.managed_hrefs, session.settings.public_hrefs),
        method=method,
        collection=collection,
        max_problems=0 if stop else max_errors,
        validate=session.settings.validate_schemas if validate is None else validate,
        workers=_workers(size) if workers is None else workers,
        pooled=session.settings.transaction_pooler,
        addresses=_addresses(session),
        schemas=session.settings.schemas,
        unknown_schemas=session.settings.unknown_schemas,
        repair=repair,
    )
    began = time.monotonic()
    tally = LoadResult()
    try:
        with _progress(size, quiet=quiet) as (report_problem, show_progress):
            bulk_load(files, plan, report_problem, show_progress, tally)
    finally:
        session.report_changes([Change("bulk", name) for name in sorted(tally.changed)])
    click.echo(_summary(tally, time.monotonic() - began))
    warn(session, tally.hrefs)
    for url in sorted(tally.unknown):
        click.echo(f"warning: documents were not validated against an unknown schema: {url}", err=True)
    if tally.repaired:
        click.echo(f"{tally.repaired:,} values repaired", err=True)
    if tally.stopped:
        print_error("stopped; documents written before are kept. Run it again with --method upsert or ignore")
    return REFUSED if tally.refused else 0


def _addresses(session: Session) -> Addresses:
    """Return a recogniser for URLs that this server made. Plugins are loaded only if a document has such a URL."""
    from stacflask.catalog.documents.stored_hrefs import Addresses
    from stacflask.gate import Gate

    public = session.settings.public_url
    return Addresses((public,) if public else (), lambda href: Gate(session.plugins).storage_href(href))


def _workers(size: int | None) -> int:
    from stacflask.catalog.bulk.input_files import BLOCK_BYTES

    return 0 if size is not None and size <= BLOCK_BYTES else len(os.sched_getaffinity(0))


@contextmanager
def _progress(size: int | None, *, quiet: bool) -> Iterator[tuple[Callable[[str], None], Callable[[LoadResult], None]]]:
    """Show a progress bar on a terminal: part read, items, rate, time left, and refused documents.

    Yields a function that prints a problem, and one that shows a tally.
    """
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # A monitor thread must not exist when processes are forked.
    bar_format = "{percentage:3.0f}% {bar} {desc}, {remaining} left" if size else "{desc}, {elapsed}"
    hidden = True if quiet else None
    with tqdm(total=size, bar_format=bar_format, disable=hidden, desc="reading", file=sys.stderr, leave=False) as bar:
        began = time.monotonic()

        def show(tally: LoadResult) -> None:
            rate = tally.items / max(time.monotonic() - began, 1e-3)
            bar.set_description_str(f"{tally.items:,} items, {rate:,.0f}/s, {tally.refused:,} refused", refresh=False)
            bar.update(tally.read - bar.n)

        yield lambda message: tqdm.write(message, file=sys.stderr), show
        bar.refresh()  # tqdm skips steps that follow each other too fast. The last one must be shown.


def _summary(tally: LoadResult, seconds: float) -> str:
    kinds = f"{tally.new:,} new, {tally.replaced:,} replaced, {tally.left:,} unchanged"
    return (
        f"{tally.collections:,} collections, {tally.items:,} items ({kinds}), {tally.refused:,} refused, "
        f"{seconds:,.1f} s, {tally.items / max(seconds, 1e-3):,.0f} items/s"
    )


@click.command()
@click.option("--collection", "collections", metavar="ID", multiple=True, help="Only this collection; can be repeated.")
@click.option("--collections-only", is_flag=True, help="Export no items.")
@click.option(
    *("-o", "--output"),
    default="-",
    type=click.Path(dir_okay=False, allow_dash=True),
    help='The file to write; "-" is standard output. [default: -]',
)
@click.option("--gzip", "compress", is_flag=True, help="Compress the output with gzip.")
@pass_session
def export(session: Session, collections: tuple[str, ...], collections_only: bool, output: str, compress: bool) -> int:
    """Write the catalogue as newline-delimited JSON.

    Collections come first, so that you can load the output again. Documents are exported as they were loaded, with the
    storage hrefs of their assets, in one consistent snapshot. The output file appears only when it is complete.

    Documents that cannot be read are left out. Their collections and the reasons are printed on standard error, and
    the exit code is 1.
    """
    from stacflask.catalog.bulk.export import UnreadDocuments
    from stacflask.catalog.bulk.export import export as export_documents

    unread: Counter[UnreadDocuments] = Counter()
    texts = export_documents(session.database, collections, items_too=not collections_only, unread=unread)
    first = next(texts, None)  # Raises errors before the output file is created.
    written = 0
    with ExitStack() as ends:
        file: Any = ends.enter_context(click.open_file(output, "wb", atomic=output != "-"))
        if compress:
            file = ends.enter_context(gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6))
        for text in chain([first] if first is not None else [], texts):
            file.write(text + b"\n")
            written += 1
    click.echo(f"{written:,} documents exported", err=True)
    for (collection, reason), count in unread.items():
        print_error(f"collection {collection!r}: {count:,} documents left out: {reason}")
    return REFUSED if unread else 0


@click.command()
@click.argument("collections", nargs=-1, required=True, metavar="COLLECTION...")
@click.option("--keep-collection", is_flag=True, help="Delete the items only.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@pass_session
def delete(session: Session, collections: tuple[str, ...], *, keep_collection: bool, yes: bool, quiet: bool) -> None:
    """Delete collections with all of their items.

    COLLECTION is an id. Items are deleted in batches, each in its own transaction, while the server continues to work.
    If it is interrupted, run it again to delete the rest. No plugin authorizes the deletion. The files of assets stay
    in their stores.
    """
    if not yes:
        click.confirm(f"Delete {', '.join(collections)} with all items?", abort=True)
    for collection in collections:
        deleted = _delete(session, collection, keep=keep_collection, quiet=quiet)
        click.echo(f"{collection}: {deleted:,} items deleted{', collection kept' if keep_collection else ''}")


def _delete(session: Session, collection: str, *, keep: bool, quiet: bool) -> int:
    from stacflask.catalog import deletion

    deleted, change = 0, Change("bulk", collection)
    try:
        for count in deletion.delete(session.database, collection, deletion.locked(collection), keep=keep):
            deleted += count
            if not quiet:
                click.echo(f"{collection}: {deleted:,} items so far", err=True)
        change = change if keep else Change("delete", collection)
    finally:
        if deleted or change.action == "delete":
            session.report_changes([change])
    return deleted

"""Commands on documents: in and out."""

from __future__ import annotations

import gzip
import os
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from stacflask.cli.errors import REFUSED, failed
from stacflask.cli.session import Session, pass_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stacflask.catalog.bulk.copy import Method
    from stacflask.catalog.bulk.load import Tally
    from stacflask.catalog.documents.stored_hrefs import Addresses


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "--method",
    type=click.Choice(["insert", "upsert", "ignore"]),
    default="insert",
    show_default=True,
    help="What becomes of a document that exists already: it is an error, is replaced, or is left as it is.",
)
@click.option("--collection", metavar="ID", help="The collection of items that name none.")
@click.option(
    "--on-error",
    type=click.Choice(["stop", "continue"]),
    default="stop",
    show_default=True,
    help="What a refused document does to the rest.",
)
@click.option("--max-errors", type=click.IntRange(min=0), help="Continue, but stop when more documents are refused.")
@click.option(
    "--validate/--no-validate", default=None, help="Check against the JSON Schemas of STAC and its extensions."
)
@click.option("--repair", is_flag=True, help="Write times as RFC 3339 has them, and list what was changed.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes; 0 does all in this one. [default: one a core]")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@pass_session
def load(
    session: Session,
    *,
    files: tuple[str, ...],
    method: Method,
    collection: str | None,
    on_error: str,
    max_errors: int | None,
    validate: bool | None,
    repair: bool,
    workers: int | None,
    quiet: bool,
) -> int:
    """Load collections and items from files.

    FILES may be "-" for standard input. Each holds newline-delimited JSON or one document: an item, a collection, an
    item collection, a list of collections, an array of these. Any may be compressed with gzip. Collections are loaded
    before items.

    Each refused document is told with its line and place. The exit code is 0 if all were loaded, 1 if some were
    refused, 2 if the load could not go on. A load that was cut short can be run again with upsert or ignore.
    """
    from stacflask.catalog.bulk.input_files import size_of
    from stacflask.catalog.bulk.load import Plan
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
        most_problems=0 if stop else max_errors,
        validate=session.settings.validate_schemas if validate is None else validate,
        workers=_workers(size) if workers is None else workers,
        pooled=session.settings.transaction_pooler,
        addresses=_addresses(session),
        schemas=session.settings.schemas,
        unknown_schemas=session.settings.unknown_schemas,
        repair=repair,
    )
    began = time.monotonic()
    with _progress(size, quiet=quiet) as (tell, progress):
        tally = bulk_load(files, plan, tell, progress)
    click.echo(_summary(tally, time.monotonic() - began))
    warn(session, tally.hrefs)
    for address in sorted(tally.unknown):
        click.echo(f"warning: documents name a schema that is not known and was not checked: {address}", err=True)
    if tally.repaired:
        click.echo(f"{tally.repaired:,} values repaired", err=True)
    if tally.stopped:
        failed("stopped; what was written before stays. Run it again with --method upsert or ignore")
    return REFUSED if tally.refused else 0


def _addresses(session: Session) -> Addresses:
    """Recognise what the server made of hrefs. Plugins are loaded only when a document has such an address."""
    from stacflask.catalog.documents.stored_hrefs import Addresses
    from stacflask.gate import Gate

    public = session.settings.public_url
    return Addresses((public,) if public else (), lambda href: Gate(session.plugins).storage_href(href))


def _workers(size: int | None) -> int:
    from stacflask.catalog.bulk.input_files import BLOCK

    return 0 if size is not None and size <= BLOCK else len(os.sched_getaffinity(0))


@contextmanager
def _progress(size: int | None, *, quiet: bool) -> Iterator[tuple[Callable[[str], None], Callable[[Tally], None]]]:
    """Show a bar on a terminal: how much is read, how many items at what rate, time left, and what was refused.

    Gives a function that tells a problem, and one that shows a tally.
    """
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # no thread: processes are forked
    shape = "{percentage:3.0f}% {bar} {desc}, {remaining} left" if size else "{desc}, {elapsed}"
    hidden = True if quiet else None
    with tqdm(total=size, bar_format=shape, disable=hidden, desc="reading", file=sys.stderr, leave=False) as bar:
        began = time.monotonic()

        def show(tally: Tally) -> None:
            rate = tally.items / max(time.monotonic() - began, 1e-3)
            bar.set_description_str(f"{tally.items:,} items, {rate:,.0f}/s, {tally.refused:,} refused", refresh=False)
            bar.update(tally.read - bar.n)

        yield lambda message: tqdm.write(message, file=sys.stderr), show
        bar.refresh()  # steps that follow each other too fast are not drawn: the last one always is


def _summary(tally: Tally, seconds: float) -> str:
    kept = f"{tally.new:,} new, {tally.replaced:,} replaced, {tally.left:,} left as they were"
    return (
        f"{tally.collections:,} collections, {tally.items:,} items ({kept}), {tally.refused:,} refused, "
        f"{seconds:,.1f} s, {tally.items / max(seconds, 1e-3):,.0f} items/s"
    )


@click.command()
@click.option("--collection", "collections", metavar="ID", multiple=True, help="Only this collection; can be repeated.")
@click.option("--collections-only", is_flag=True, help="No items.")
@click.option("-o", "--output", default="-", type=click.Path(dir_okay=False, allow_dash=True), help="[default: -]")
@click.option("--gzip", "compress", is_flag=True, help="Compress it.")
@pass_session
def export(session: Session, collections: tuple[str, ...], collections_only: bool, output: str, compress: bool) -> int:
    """Write the catalogue as newline-delimited JSON.

    Collections come first, so that it can be loaded again. Documents are as they were given, with the storage
    addresses of their assets, and all of one moment. A file is there only once it is whole.

    Documents that cannot be read are left out: standard error names their collections and the reasons, and the exit
    code is 1.
    """
    from stacflask.catalog.bulk.export import Unread
    from stacflask.catalog.bulk.export import export as exported

    unread: Counter[Unread] = Counter()
    texts = exported(session.database, collections, items_too=not collections_only, unread=unread)
    first = next(texts, None)  # what is wrong is told before a file is begun
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
        failed(f"collection {collection!r}: {count:,} documents left out: {reason}")
    return REFUSED if unread else 0


@click.command()
@click.argument("collections", nargs=-1, required=True, metavar="COLLECTION...")
@click.option("--keep-collection", is_flag=True, help="Delete the items only.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@pass_session
def delete(session: Session, collections: tuple[str, ...], *, keep_collection: bool, yes: bool, quiet: bool) -> None:
    """Delete collections with all of their items.

    COLLECTION is an id. Items are deleted in batches, each in a transaction of its own, while everything else goes on.
    A run that was cut short can be run again and goes on where it stopped. No plugin is asked, and the bytes of assets
    stay in their stores.
    """
    if not yes:
        click.confirm(f"Delete {', '.join(collections)} with all items?", abort=True)
    for collection in collections:
        deleted = _delete(session, collection, keep=keep_collection, quiet=quiet)
        click.echo(f"{collection}: {deleted:,} items deleted{', collection kept' if keep_collection else ''}")


def _delete(session: Session, collection: str, *, keep: bool, quiet: bool) -> int:
    from stacflask.catalog import deletion

    deleted = 0
    for count in deletion.delete(session.database, collection, deletion.locked(collection), keep=keep):
        deleted += count
        if not quiet:
            click.echo(f"{collection}: {deleted:,} items so far", err=True)
    return deleted

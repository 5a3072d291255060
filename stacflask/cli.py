"""The command line. What goes wrong is one line on standard error; plugins add commands of their own.

The catalogue is imported by the commands that need it: ``stacflask --help`` need not wait for all of it.
"""

from __future__ import annotations

import copy
import gzip
import logging
import os
import re
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from difflib import get_close_matches
from functools import cached_property, wraps
from itertools import chain
from typing import TYPE_CHECKING, Any, NoReturn

import click

from stacflask import __version__
from stacflask.errors import SettingError, StacflaskError
from stacflask.loader import VARIABLE, answerers, hear, load_plugins, problems, settings_of
from stacflask.settings import Settings
from stacflask.values import UNRESTRICTED, Services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from stacflask.catalog.batches import Method
    from stacflask.catalog.database import Database
    from stacflask.catalog.loading import Tally
    from stacflask.values import Order, Setting

REFUSED, FAILED, INTERRUPTED = 1, 2, 130
"""Exit codes: some documents were refused; the command could not do its work; Ctrl-C."""

ELSEWHERE = ("STACFLASK_THREADS", "STACFLASK_TEST_DATABASE_URL")
"""Variables that are read by gunicorn.conf.py, and by the fixtures for tests."""


def main() -> NoReturn:
    """Run the command that the program's arguments name, and exit with its code."""
    sys.exit(run(sys.argv[1:], os.environ))


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command that these arguments name; give its exit code."""
    # Errors are told here, in one line each: what the server logs of them would tell them twice.
    for name in ("stacflask", "plugins"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    session = Session(environ)
    try:
        result = program.main(list(arguments), "stacflask", standalone_mode=False, obj=session)
        if session.problem is not None:
            raise session.problem
    except (click.exceptions.Abort, click.ClickException, StacflaskError, OSError) as error:
        return _told(error)
    finally:
        session.close()
    return result if isinstance(result, int) else 0


def _told(error: Exception) -> int:
    """Tell what went wrong in one line; give the exit code."""
    message, code = str(error), FAILED
    match error:
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message(), err=True)
            return FAILED
        case click.exceptions.Abort():
            message, code = "interrupted", INTERRUPTED
        case click.ClickException():
            message, code = error.format_message(), error.exit_code
        case StacflaskError():
            message = _with_reason(error)
        case BrokenPipeError():  # as with `stacflask export | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        case OSError():
            message = f"{error.filename or 'file'}: {error.strerror or error}"
    return _failed(message, code)


def _failed(message: str, code: int = FAILED) -> int:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return code


def _with_reason(error: StacflaskError) -> str:
    """Give the description with what clients are not told and operators are: the database's words, and whose it is."""
    cause = error.__cause__
    said = getattr(cause, "orig", None) or (cause if hasattr(cause, "sqlstate") else None)
    words = str(said or "").strip().partition("\n")[0]
    return " ".join([error.description, *([f"({words})"] if words else []), *getattr(error, "__notes__", ())])


# --- What commands stand on -------------------------------------------------------------------------------------------


class Session:
    """One run of the program: settings, database and plugins, each made when first asked for."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problem: SettingError | None = None
        """Why the plugins' commands could not be listed."""

    @cached_property
    def settings(self) -> Settings:
        """The settings. Raises SettingError."""
        return Settings.from_environ(self.environ)

    @cached_property
    def database(self) -> Database:
        """The database; a command's statements may take as long as they need."""
        from stacflask.catalog.database import Database, create_engine

        url, pooled = self.settings.database_url, self.settings.transaction_pooler
        return Database(create_engine(url, pool_size=2, statement_timeout=0, pooled=pooled))

    @cached_property
    def plugin_names(self) -> Sequence[str]:
        """The names of the plugins, read whatever is wrong with other settings."""
        declared = next(field.metadata for field in fields(Settings) if field.name == "plugins")
        names: Sequence[str] = declared["parse"](self.environ.get(VARIABLE, ""))
        return names

    @cached_property
    def plugins(self) -> Any:
        """The plugin manager, plugins not yet started. Raises SettingError, but not for settings they do not need."""
        return load_plugins(self.plugin_names, self.environ)

    @cached_property
    def started(self) -> Any:
        """The plugin manager, its plugins started as in a server."""
        from stacflask.catalog.storage import PluginStorage

        self.plugins.hook.startup(services=Services(PluginStorage(self.database), look=self._look))
        return self.plugins

    def _look(self, collection: str, item: str | None, key: str) -> Order:
        from stacflask.catalog.documents import Directories
        from stacflask.catalog.reading import Catalog
        from stacflask.gate import Gate

        catalog = Catalog(self.database, Directories(self.settings.directory_types))
        return Gate(self.plugins).look(catalog.asset(collection, item, key, UNRESTRICTED))

    @cached_property
    def commands(self) -> dict[str, click.Command]:
        """The plugins' commands. Raises SettingError."""
        added = [command for commands in self.plugins.hook.extend_cli() for command in commands]
        names = [*program.commands, *(str(command.name) for command in added)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SettingError(VARIABLE, f"more than one command is called {', '.join(twice)}")
        return {str(command.name): self._starting(command) for command in added}

    def _starting(self, command: click.Command) -> click.Command:
        """Give the command made so that plugins are started before it runs; its help does without."""
        command = copy.copy(command)
        if isinstance(command, click.Group):
            command.commands = {name: self._starting(part) for name, part in command.commands.items()}
        elif command.callback is not None:
            command.callback = self._after_start(command.callback)
        return command

    def _after_start(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(callback)
        def run_started(*arguments: Any, **options: Any) -> Any:
            _ = self.started
            return callback(*arguments, **options)

        return run_started

    def close(self) -> None:
        """Give the connections back."""
        if "database" in vars(self):
            self.database.engine.dispose()


class Program(click.Group):
    """The program's own commands and those of its plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands. Where plugins fail to load, that is told below the help."""
        session = ctx.ensure_object(Session)
        try:
            return [*super().list_commands(ctx), *sorted(session.commands)]
        except SettingError as error:
            session.problem = error
            return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command. Plugins are loaded for what is none of the program's own. Raises SettingError."""
        own = super().get_command(ctx, cmd_name)
        session = ctx.ensure_object(Session)
        if own is not None or session.problem is not None:
            return own
        return session.commands.get(cmd_name)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(version)s")
def program() -> None:
    """Fill, export and look after a stacflask catalogue.

    The catalogue is the PostGIS database that DATABASE_URL names.
    """


pass_session = click.make_pass_decorator(Session)

# --- The database -----------------------------------------------------------------------------------------------------


@program.command()
@pass_session
def migrate(session: Session) -> None:
    """Bring the database's tables to this release.

    Safe to run at any time and from several places at once: whoever comes second finds nothing to do.
    """
    from stacflask.catalog import migrating

    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(lambda record: record.getMessage().startswith("Running"))  # each revision, and no chatter
    logger = logging.getLogger("alembic.runtime.migration")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    _ = session.settings  # complain about these first
    migrating.migrate()
    click.echo("The database is up to date.")


@program.command()
@pass_session
def check(session: Session) -> None:
    """See whether settings, database and plugins are ready to serve.

    A variable STACFLASK_* that nobody reads is probably misspelt: a warning names it.
    """
    from stacflask.catalog import migrating

    _check_settings(session)
    condition = migrating.condition(session.database)
    click.echo(f"database: PostgreSQL {condition.postgresql}, PostGIS {condition.postgis or 'missing'}")
    if not condition.migrated:
        if not condition.found:
            raise StacflaskError("The database has no tables of this program yet.")
        found, heads = (", ".join(sorted(revisions)) for revisions in (condition.found, condition.heads))
        raise StacflaskError(f"The database's tables are at revision {found}, but this release is at {heads}.")
    click.echo(f"migrations: up to date, at {', '.join(sorted(condition.heads))}")
    hear(session.started)
    names = [name for name, _ in session.plugins.list_name_plugin()]
    click.echo(f"plugins: {', '.join(reversed(names)) or 'none'}")


def _check_settings(session: Session) -> None:
    """Tell all that is wrong with the settings. Raises the last of it."""
    wrong = [*Settings.problems(session.environ), *problems(session.plugin_names, session.environ)]
    if wrong:
        for problem in wrong[:-1]:
            _failed(str(problem))
        raise wrong[-1]
    known = {*ELSEWHERE, *(field.metadata["name"] for field in fields(Settings))}
    known |= {setting.name for _, told in settings_of(session.plugin_names) for setting in told}
    for name in _unread(session.environ, known):
        meant = "".join(f"; is {near} meant?" for near in get_close_matches(name, sorted(known), 1, 0.85))
        click.echo(f"warning: {name}: neither the program nor a plugin named in {VARIABLE} reads it{meant}", err=True)


def _unread(environ: Mapping[str, str], known: set[str]) -> list[str]:
    """Find the variables of ours that are not known. Settings may name others, as those of stores do for secrets."""
    pointed_to = " ".join(environ[name] for name in known & environ.keys())
    ours = [name for name in sorted(environ) if name.startswith("STACFLASK_")]
    return [name for name in ours if name not in known and name not in pointed_to]


@program.command()
@click.argument("collections", nargs=-1)
@pass_session
def extents(session: Session, collections: tuple[str, ...]) -> None:
    """Make collections' extents from their items.

    COLLECTIONS are their ids; without any, all are done. Only the first box and interval of each are replaced; a
    collection without items keeps its own.
    """
    from stacflask.catalog.extents import all_collections, recompute
    from stacflask.catalog.reading import Catalog

    codec = Catalog(session.database).codec
    for name in collections or tuple(session.database.read(all_collections)):
        with session.database.write() as connection:
            changed = recompute(connection, codec, name)
        click.echo(f"{name}: {'changed' if changed else 'as it was'}")


@program.group()
def queryables() -> None:
    """Make what is said of properties anew."""


@queryables.command("refresh")
@click.argument("collections", nargs=-1)
@pass_session
def refresh_queryables(session: Session, collections: tuple[str, ...]) -> None:
    """Make types, ranges and enumerations of properties anew from the items.

    COLLECTIONS are their ids; without any, all are done. Needed after many deletions, and once for items that were
    there before release 0.1: whatever is loaded or written is taken account of as it comes. Searches, loads and
    changes go on meanwhile.
    """
    from stacflask.catalog.extents import all_collections
    from stacflask.catalog.statistics import refresh

    for name in collections or tuple(session.database.read(all_collections)):
        click.echo(f"{name}: {refresh(session.database, name):,} items")


@program.group()
def index() -> None:
    """Index properties that are filtered and sorted by.

    Indexes are made and dropped while everything else goes on; searches use them at once.
    """


_FORMS = click.option(
    "--as",
    "forms",
    type=click.Choice(["number", "string", "boolean", "time"]),
    multiple=True,
    help="Only values of this type; can be repeated. [default: the types that the items hold]",
)


_TEXT = click.option("--text", is_flag=True, help="What free text (q) is looked for in, by trigrams.")


@index.command("add")
@click.argument("names", nargs=-1, metavar="[PROPERTY]...")
@_FORMS
@_TEXT
@pass_session
def index_add(session: Session, names: tuple[str, ...], forms: tuple[str, ...], *, text: bool) -> None:
    """Index properties.

    PROPERTY is a name such as eo:cloud_cover; without any, those that STACFLASK_INDEXES names are indexed. What there
    is already is left. An index that an interrupted run left unfinished is made anew.
    """
    from stacflask.catalog import indexing, text_index

    if text:
        click.echo(f"free text: {'indexed' if text_index.add(session.database) else 'indexed already'}")
    for name in indexing.checked(names or (() if text else session.settings.indexes)):
        made = None
        for made in indexing.add(session.database, name, forms):
            click.echo(f"{made.name}: indexed {made.rows:,} items by {made.form}, {_megabytes(made.size)}")
        if made is None:
            click.echo(f"{name}: indexed already")


@index.command("list")
@pass_session
def index_list(session: Session) -> None:
    """List the indexes on properties: type, items, size, and how often each was used."""
    from stacflask.catalog import indexing, text_index

    for found in session.database.read(indexing.listed):
        state = f"{found.rows:,} items, {_megabytes(found.size)}, used {found.scans:,} times"
        click.echo(f"{found.name} by {found.form}: {state if found.valid else 'unfinished: add it again'}")
    size = session.database.read(text_index.size)
    if size is not None:
        click.echo(f"free text: {_megabytes(size)}")


@index.command("drop")
@click.argument("names", nargs=-1, metavar="PROPERTY...")
@_FORMS
@_TEXT
@pass_session
def index_drop(session: Session, names: tuple[str, ...], forms: tuple[str, ...], *, text: bool) -> None:
    """Drop indexes on properties."""
    from stacflask.catalog import indexing, text_index

    if text:
        text_index.drop(session.database)
        click.echo("free text: dropped the index")
    elif not names:
        raise click.UsageError("name a property, or say --text")
    for name in indexing.checked(names):
        gone = indexing.drop(session.database, name, forms)
        for dropped in gone:
            click.echo(f"{name}: dropped the index by {dropped.form}")
        if not gone:
            click.echo(f"{name}: there was no index")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


# --- The set-up -------------------------------------------------------------------------------------------------------


@program.command()
@pass_session
def hooks(session: Session) -> None:
    """List each hook and who answers it, in order."""
    answers = dict(answerers(session.plugins))
    width = max(map(len, answers))
    for hook, names in answers.items():
        click.echo(f"{hook:{width}}  {', '.join(names) or '-'}")


@program.command()
@pass_session
def settings(session: Session) -> None:
    """List the settings with their values, those of the plugins too.

    Passwords and other secrets are left out.
    """
    for field in fields(Settings):
        name = field.metadata["name"]
        given = "" if session.environ.get(name, "").strip() else "  (default)"
        click.echo(f"{name}={_shown(getattr(session.settings, field.name))}{given}\n    {field.metadata['help']}")
    listed: set[str] = set()
    for plugin, told in settings_of(session.plugin_names):
        for setting in told:
            if setting.name not in listed:
                listed.add(setting.name)
                click.echo(f"{_line(setting, session.environ)}\n    {setting.help} ({plugin})")


def _line(setting: Setting, environ: Mapping[str, str]) -> str:
    value = environ.get(setting.name, "").strip()
    if not value:
        return f"{setting.name}={setting.default}  ({'missing' if setting.required else 'default'})"
    return f"{setting.name}={'***' if setting.secret else value}"


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    # In addresses, a password stands after the user's name or among the parameters.
    text = str("" if value is None else value).replace("+psycopg:", ":")
    return re.sub(r"(?<=://)([^:/@]*):[^/]*(?=@)|((?:ssl)?password=)[^&]*", _masked, text)


def _masked(found: re.Match[str]) -> str:
    return f"{found[1]}:***" if found[2] is None else f"{found[2]}***"


# --- Documents in and out ---------------------------------------------------------------------------------------------


@program.command()
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
    from stacflask.catalog.documents import Managed
    from stacflask.catalog.lines import size_of
    from stacflask.catalog.loading import Plan
    from stacflask.catalog.loading import load as bulk_load

    size = size_of(files)
    stop = on_error == "stop" and max_errors is None
    plan = Plan(
        session.settings.database_url,
        Managed(session.settings.managed_hrefs),
        method=method,
        collection=collection,
        most_problems=0 if stop else max_errors,
        validate=session.settings.validate_schemas if validate is None else validate,
        workers=_workers(size) if workers is None else workers,
        pooled=session.settings.transaction_pooler,
    )
    began = time.monotonic()
    with _progress(size, quiet=quiet) as (tell, progress):
        tally = bulk_load(files, plan, tell, progress)
    click.echo(_summary(tally, time.monotonic() - began))
    if tally.stopped:
        _failed("stopped; what was written before stays. Run it again with --method upsert or ignore")
    return REFUSED if tally.refused else 0


def _workers(size: int | None) -> int:
    from stacflask.catalog.lines import BLOCK

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


@program.command()
@click.option("--collection", "collections", metavar="ID", multiple=True, help="Only this collection; can be repeated.")
@click.option("--collections-only", is_flag=True, help="No items.")
@click.option("-o", "--output", default="-", type=click.Path(dir_okay=False, allow_dash=True), help="[default: -]")
@click.option("--gzip", "compress", is_flag=True, help="Compress it.")
@pass_session
def export(session: Session, collections: tuple[str, ...], collections_only: bool, output: str, compress: bool) -> None:
    """Write the catalogue as newline-delimited JSON.

    Collections come first, so that it can be loaded again. Documents are as they were given, with the storage
    addresses of their assets, and all of one moment. A file is there only once it is whole.
    """
    from stacflask.catalog.exporting import export as exported

    texts = exported(session.database, collections, items_too=not collections_only)
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

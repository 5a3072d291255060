"""Commands on the setup: check it, list the hooks with their plugins, list the settings."""

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

import click

from stacflask.cli.errors import print_error
from stacflask.cli.session import Session, pass_session
from stacflask.errors import StacflaskError
from stacflask.model.services import Setting
from stacflask.pluginmanager.loading import VARIABLE, check_constant_hooks, implementations, problems, settings_of
from stacflask.settings import Settings, is_secret_name, masked

VARIABLES_OF_TESTS = ("STACFLASK_TEST_DATABASE_URL",)
"""Variables that the fixtures for tests read."""


@click.command()
@click.option("--every-item", is_flag=True, help="Check all items, not only a sample of each collection.")
@pass_session
def check(session: Session, *, every_item: bool) -> None:
    """Check that settings, database and plugins are ready to serve.

    Warns about each variable STACFLASK_* that neither stacflask nor a plugin reads: it is probably misspelt. Warns
    about hrefs that no plugin resolves, with counts by scheme.
    """
    from stacflask.catalog.database import migrations

    _check_settings(session)
    states = migrations.states(session.database, session.chains)
    postgresql, postgis = migrations.versions(session.database)
    click.echo(f"database: PostgreSQL {postgresql}, PostGIS {postgis or 'missing'}")
    if behind := [state.problem for state in states if state.problem]:
        for problem in behind[:-1]:
            print_error(problem)
        raise StacflaskError(behind[-1])
    listed = (f"{state.chain.plugin} {', '.join(sorted(state.heads))}".strip() for state in states)
    click.echo(f"migrations: up to date, at {'; '.join(listed)}")
    _check_dictionaries(session, every_item=every_item)
    check_constant_hooks(session.started)
    _ = session.commands
    names = [name for name, _ in session.plugins.list_name_plugin()]
    click.echo(f"plugins: {', '.join(reversed(names)) or 'none'}")
    for notes in session.started.hook.check_setup():
        for note in notes:
            click.echo(f"note: {note}")
    _check_hrefs(session, every_item=every_item)


def _check_dictionaries(session: Session, *, every_item: bool) -> None:
    """Check the compression dictionaries of the items. Raises StacflaskError if one is missing or damaged."""
    from stacflask.catalog.documents.dictionaries import find_missing, find_unusable, sample_frames
    from stacflask.catalog.reader import Catalog

    found = session.database.read(lambda connection: find_missing(connection, sample=None if every_item else 100))
    if not found:
        frames = session.database.read(lambda connection: sample_frames(connection, 3))
        found = find_unusable(Catalog(session.database).codec, frames)
    for one in found:
        print_error(str(one))
    if found:
        raise StacflaskError("Documents cannot be read. Restore the table dictionaries from a backup.")
    click.echo("dictionaries: complete")


def _check_hrefs(session: Session, *, every_item: bool) -> None:
    from stacflask.catalog.bulk.href_survey import survey
    from stacflask.cli.href_warnings import warn

    counts = survey(session.database, every_item=every_item)
    click.echo(f"hrefs: checked in {counts.documents:,} documents")
    warn(session, counts)
    for collection, number in sorted(counts.damaged.items()):
        print_error(f"collection {collection!r}: {number:,} documents are damaged")
    if counts.damaged:
        raise StacflaskError("Documents cannot be read. Restore them from a backup.")


def _check_settings(session: Session) -> None:
    """Print all errors in the settings but the last, which is raised. Warn about variables that nothing reads."""
    errors = [*Settings.problems(session.environ), *problems(session.plugin_names, session.environ)]
    if errors:
        for error in errors[:-1]:
            print_error(str(error))
        raise errors[-1]
    declared = {*VARIABLES_OF_TESTS, *(field.metadata["name"] for field in fields(Settings))}
    declared |= {setting.name for _, settings in settings_of(session.plugin_names) for setting in settings}
    for name in _unread(session.environ, declared):
        hint = "".join(f"; is {near} meant?" for near in get_close_matches(name, sorted(declared), 1, 0.85))
        click.echo(f"warning: {name}: neither stacflask nor a plugin in {VARIABLE} reads it{hint}", err=True)


def _unread(environ: Mapping[str, str], declared: set[str]) -> list[str]:
    """Return variables STACFLASK_* that are not declared. A setting can name others, as stores do for secrets."""
    values = " ".join(environ[name] for name in declared & environ.keys())
    ours = [name for name in sorted(environ) if name.startswith("STACFLASK_")]
    return [name for name in ours if name not in declared and name not in values]


@click.command()
@pass_session
def hooks(session: Session) -> None:
    """List the hooks with their plugins, in the order of calls."""
    plugins_of_hooks = dict(implementations(session.plugins))
    width = max(map(len, plugins_of_hooks))
    for hook, names in plugins_of_hooks.items():
        click.echo(f"{hook:{width}}  {', '.join(names) or '-'}")


@click.command()
@pass_session
def settings(session: Session) -> None:
    """List the settings with their values.

    Settings of the plugins in STACFLASK_PLUGINS are included. Passwords and other secrets are not shown.
    """
    declared = [(plugin, one) for plugin, settings in settings_of(session.plugin_names) for one in settings]
    # A setting is secret if any plugin declares it secret.
    secret = {one.name for _, one in declared if one.secret}
    listed: set[str] = set()
    for field in fields(Settings):
        name, value = field.metadata["name"], getattr(session.settings, field.name)
        default = "" if session.environ.get(name, "").strip() else "  (default)"
        text = "***" if name in secret and not default else _masked_text(value)
        click.echo(f"{name}={text}{default}\n    {field.metadata['help']}")
        listed.add(name)
    for plugin, setting in declared:
        if setting.name not in listed:
            listed.add(setting.name)
            line = _line(setting, session.environ, secret=setting.name in secret or is_secret_name(setting.name))
            click.echo(f"{line}\n    {setting.help} ({plugin})")


def _line(setting: Setting, environ: Mapping[str, str], *, secret: bool) -> str:
    value = environ.get(setting.name, "").strip()
    if not value:
        return f"{setting.name}={setting.default}  ({'missing' if setting.required else 'default'})"
    return f"{setting.name}={'***' if secret else masked(value)}"


def _masked_text(value: Any) -> str:
    if isinstance(value, tuple):
        return masked(",".join(map(str, value)))
    if isinstance(value, bool):
        return str(value).lower()
    return masked(str("" if value is None else value).replace("+psycopg:", ":"))

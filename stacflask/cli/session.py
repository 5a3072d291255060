"""The command group with the commands of plugins, and the session that commands share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any

import click

from stacflask.errors import SettingError, StacflaskError
from stacflask.model.asset import Change
from stacflask.model.decision import UNRESTRICTED
from stacflask.model.delivery import Order
from stacflask.model.services import Services
from stacflask.pluginmanager.loading import (
    VARIABLE,
    available_plugins,
    commands_of,
    declared_commands,
    load_usable,
    migrations_of,
    shutdown,
)
from stacflask.settings import Settings

if TYPE_CHECKING:
    from stacflask.catalog.database.engine import Database
    from stacflask.catalog.database.migrations import Chain


class Session:
    """Settings, database and plugins of one run of the program, each created at its first use.

    ``own`` are the names of the commands that stacflask itself has.
    """

    def __init__(self, environ: Mapping[str, str], own: Collection[str]) -> None:
        self.environ = environ
        self._own = own
        self.problem: SettingError | None = None
        """Why some commands of plugins could not be listed."""

    @cached_property
    def settings(self) -> Settings:
        """The settings. Raises SettingError."""
        return Settings.from_environ(self.environ)

    @cached_property
    def database(self) -> Database:
        """The database. Statements of commands have no timeout."""
        from stacflask.catalog.database.engine import Database, create_engine

        url, pooled = self.settings.database_url, self.settings.transaction_pooler
        return Database(create_engine(url, pool_size=2, statement_timeout=0, pooled=pooled))

    @cached_property
    def plugin_names(self) -> Sequence[str]:
        """The names of the plugins. Other settings can be wrong."""
        declared = next(field.metadata for field in fields(Settings) if field.name == "plugins")
        names: Sequence[str] = declared["parse"](self.environ.get(VARIABLE, ""))
        return names

    @property
    def chains(self) -> Sequence[Chain]:
        """The chains of migrations of stacflask and its plugins. Raises SettingError."""
        from stacflask.catalog.database.migrations import chains

        return chains(migrations_of(self.plugin_names))

    @cached_property
    def plugins(self) -> Any:
        """The plugin manager; its plugins are not started. Raises SettingError, but only for plugins' settings."""
        usable, unusable = self._usable
        for error in unusable.values():
            raise error
        return usable

    @cached_property
    def _usable(self) -> tuple[Any, dict[str, SettingError]]:
        return load_usable(self.plugin_names, self.environ)

    @property
    def unusable(self) -> dict[str, SettingError]:
        """Plugins that cannot be loaded, with the error of each."""
        return self._usable[1]

    @cached_property
    def started(self) -> Any:
        """The plugin manager after the hook ``startup``, as in a server."""
        from stacflask.catalog.database.plugin_storage import PluginStorage
        from stacflask.gate import Gate

        self.plugins.hook.startup(
            services=Services(
                PluginStorage(self.database),
                order_status=self._order_status,
                changes_possible=Gate(self.plugins).writable,
            )
        )
        return self.plugins

    def _order_status(self, collection: str, item: str | None, key: str) -> Order:
        from stacflask.catalog.documents.assets import Directories
        from stacflask.catalog.reader import Catalog
        from stacflask.gate import Gate

        catalog = Catalog(self.database, Directories(self.settings.directory_types))
        return Gate(self.plugins).order_status(catalog.asset(collection, item, key, UNRESTRICTED))

    @cached_property
    def commands(self) -> dict[str, click.Command]:
        """The commands of the plugins that can be loaded. Raises SettingError."""
        owners = dict.fromkeys(self._own, "stacflask")
        added: dict[str, click.Command] = {}
        for plugin, command in commands_of(self._usable[0]):
            name = str(command.name)
            if name in owners:
                raise SettingError(VARIABLE, f"{plugin}: the command {name} exists already in {owners[name]}")
            owners[name] = plugin
            added[name] = self._with_startup(command, plugin)
        return added

    def _with_startup(self, command: click.Command, plugin: str) -> click.Command:
        """Return a copy of a command that starts the plugins before it runs. Its help does not start them."""
        command = copy.copy(command)
        if isinstance(command, click.Group):
            command.commands = {name: self._with_startup(part, plugin) for name, part in command.commands.items()}
        elif command.callback is not None:
            command.callback = self._callback_with_startup(command.callback, f"{plugin}: the command {command.name}")
        return command

    def _callback_with_startup(self, callback: Callable[..., Any], label: str) -> Callable[..., Any]:
        @wraps(callback)
        def run_started(*arguments: Any, **options: Any) -> Any:
            _ = self.started
            try:
                return callback(*arguments, **options)
            except (click.ClickException, click.exceptions.Exit, click.Abort, StacflaskError, OSError):
                raise
            except Exception as error:
                raise StacflaskError(f"{label} raised {type(error).__name__}: {error}") from error

        return run_started

    def report_changes(self, changes: Sequence[Change]) -> None:
        """Report committed changes to the plugins. If they cannot be started, print a warning."""
        from stacflask.gate import Gate

        try:
            if changes and self.plugin_names and self.plugins.hook.changes_committed.get_hookimpls():
                Gate(self.started).report_changes(changes)
        except Exception as error:  # noqa: BLE001 - the changes are committed
            click.echo(f"warning: plugins do not get the changes: {error}", err=True)

    def close(self) -> None:
        """Call the hook ``shutdown`` if the plugins were started, and close the database connections."""
        if "started" in vars(self):
            shutdown(self.started)
        if "database" in vars(self):
            self.database.engine.dispose()


class Program(click.Group):
    """The commands of stacflask and of its plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands. If a plugin cannot be loaded, the error is printed after the help."""
        session = ctx.ensure_object(Session)
        try:
            listed = [*super().list_commands(ctx), *sorted(session.commands)]
        except SettingError as error:
            session.problem = error
            return super().list_commands(ctx)
        session.problem = next(iter(session.unusable.values()), None)
        return listed

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None. Plugins are loaded only if stacflask has none. Raises SettingError."""
        own = super().get_command(ctx, cmd_name)
        session = ctx.ensure_object(Session)
        if own is not None or (session.problem is not None and "commands" not in vars(session)):
            return own
        return session.commands.get(cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the command for the arguments. Raises UsageError, with the name of the plugin that has the command."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            session = ctx.ensure_object(Session)
            if session.unusable:
                raise next(iter(session.unusable.values())) from error
            owner = next((name for name in available_plugins() if args[0] in declared_commands(name)), None)
            if owner is not None:
                raise click.UsageError(f"{error.message} It belongs to {owner}. Add that to {VARIABLE}.") from error
            raise


pass_session = click.make_pass_decorator(Session)

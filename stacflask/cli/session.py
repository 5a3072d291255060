"""What commands stand on: one run of the program, and the program itself with its plugins' commands."""

from __future__ import annotations

import copy
from dataclasses import fields
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any

import click

from stacflask.errors import SettingError, StacflaskError
from stacflask.model.decision import UNRESTRICTED
from stacflask.model.services import Services
from stacflask.pluginmanager.loading import VARIABLE, commands_of, declared_commands, load_usable, shipped
from stacflask.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from stacflask.catalog.database.engine import Database
    from stacflask.model.delivery import Order


class Session:
    """One run of the program: settings, database and plugins, each made when first asked for.

    ``own`` are the names of the program's own commands.
    """

    def __init__(self, environ: Mapping[str, str], own: Collection[str]) -> None:
        self.environ = environ
        self._own = own
        self.problem: SettingError | None = None
        """Why not all of the plugins' commands could be listed."""

    @cached_property
    def settings(self) -> Settings:
        """The settings. Raises SettingError."""
        return Settings.from_environ(self.environ)

    @cached_property
    def database(self) -> Database:
        """The database; a command's statements may take as long as they need."""
        from stacflask.catalog.database.engine import Database, create_engine

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
        usable, unusable = self._usable
        for error in unusable.values():
            raise error
        return usable

    @cached_property
    def _usable(self) -> tuple[Any, dict[str, SettingError]]:
        return load_usable(self.plugin_names, self.environ)

    @property
    def unusable(self) -> dict[str, SettingError]:
        """Plugins that cannot be loaded, and what is wrong with each."""
        return self._usable[1]

    @cached_property
    def started(self) -> Any:
        """The plugin manager, its plugins started as in a server."""
        from stacflask.catalog.database.plugin_storage import PluginStorage
        from stacflask.gate import Gate

        self.plugins.hook.startup(
            services=Services(
                PluginStorage(self.database), order_status=self._look, changes_possible=Gate(self.plugins).writable
            )
        )
        return self.plugins

    def _look(self, collection: str, item: str | None, key: str) -> Order:
        from stacflask.catalog.documents.assets import Directories
        from stacflask.catalog.reader import Catalog
        from stacflask.gate import Gate

        catalog = Catalog(self.database, Directories(self.settings.directory_types))
        return Gate(self.plugins).order_status(catalog.asset(collection, item, key, UNRESTRICTED))

    @cached_property
    def commands(self) -> dict[str, click.Command]:
        """The commands of those plugins that can be loaded. Raises SettingError."""
        owners = dict.fromkeys(self._own, "stacflask")
        added: dict[str, click.Command] = {}
        for plugin, command in commands_of(self._usable[0]):
            name = str(command.name)
            if name in owners:
                raise SettingError(VARIABLE, f"{plugin}: the command {name} is one of {owners[name]} already")
            owners[name] = plugin
            added[name] = self._starting(command, plugin)
        return added

    def _starting(self, command: click.Command, plugin: str) -> click.Command:
        """Give the command made so that plugins are started before it runs; its help does without."""
        command = copy.copy(command)
        if isinstance(command, click.Group):
            command.commands = {name: self._starting(part, plugin) for name, part in command.commands.items()}
        elif command.callback is not None:
            command.callback = self._after_start(command.callback, f"{plugin}: the command {command.name}")
        return command

    def _after_start(self, callback: Callable[..., Any], named: str) -> Callable[..., Any]:
        @wraps(callback)
        def run_started(*arguments: Any, **options: Any) -> Any:
            _ = self.started
            try:
                return callback(*arguments, **options)
            except (click.ClickException, click.exceptions.Exit, click.Abort, StacflaskError, OSError):
                raise
            except Exception as error:
                raise StacflaskError(f"{named} raised {type(error).__name__}: {error}") from error

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
            listed = [*super().list_commands(ctx), *sorted(session.commands)]
        except SettingError as error:
            session.problem = error
            return super().list_commands(ctx)
        session.problem = next(iter(session.unusable.values()), None)
        return listed

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command. Plugins are loaded for what is none of the program's own. Raises SettingError."""
        own = super().get_command(ctx, cmd_name)
        session = ctx.ensure_object(Session)
        if own is not None or (session.problem is not None and "commands" not in vars(session)):
            return own
        return session.commands.get(cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command that the arguments name. Raises UsageError, which names the plugin that has it."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            session = ctx.ensure_object(Session)
            if session.unusable:
                raise next(iter(session.unusable.values())) from error
            owner = next((name for name in shipped() if args[0] in declared_commands(name)), None)
            if owner is not None:
                raise click.UsageError(
                    f"{error.message} It belongs to {owner}, which {VARIABLE} does not name."
                ) from error
            raise


pass_session = click.make_pass_decorator(Session)

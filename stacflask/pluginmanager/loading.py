"""Load the plugins that STACFLASK_PLUGINS names. A wrong plugin stops the start."""

import importlib
import inspect
import logging
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pluggy

from stacflask import hookspecs
from stacflask.bulkhead import PluginShare
from stacflask.errors import SettingError
from stacflask.locations import PLUGINS
from stacflask.model.services import Setting
from stacflask.pluginmanager import background, guards, result_checks
from stacflask.pluginmanager.background import Background

VARIABLE = guards.VARIABLE
GROUP = "stacflask"
REQUIRED_HOOKS = {"authorize_many": "authorize", "charge_many": "charge", "transform": "authorize"}
"""Hooks, each with the hook that its plugin must also implement. Single downloads, or redirects, would miss it."""

UNLIMITED = {"startup", "shutdown", "extend_cli", "challenge"}
"""Hooks without a limit of threads: they are called while no request waits, or have constant results."""

UNWRAPPED = {*background.HOOKS, "transform"}
"""Hooks that have no wrappers: they are called in the background, or can return another stream instead."""

SHUTDOWN_SECONDS = 3.0
"""Seconds that a process which ends waits for its plugins."""

log = logging.getLogger(__name__)


def load_plugins(names: Sequence[str], environ: Mapping[str, str]) -> pluggy.PluginManager:
    """Create the plugin manager from the names of plugins.

    A name with a dot is a module. A name without one is a shipped plugin, or an entry point in the group
    ``stacflask``. If a module has ``create_plugin(environ)``, the result of that is the plugin, else the module is.

    Args:
        names: Names of plugins; the first one is called first.
        environ: Environment variables for the plugins.

    Raises:
        SettingError: A name is unknown or occurs twice, or a plugin lacks a setting or misspells a hook.
    """
    return manage({name: create(name, environ) for name in _check_distinct(names)})


def manage(plugins: Mapping[str, object]) -> pluggy.PluginManager:
    """Create the plugin manager from plugins by name. Raises SettingError with the name of a wrong plugin."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    # pluggy calls the plugin that was registered last first, in contrast to the setting.
    for name, plugin in reversed(list(plugins.items())):
        _register(manager, name, plugin)
    log.info("plugins loaded", extra={"plugins": ", ".join(plugins)})
    shares = {name: PluginShare(f"plugin {name}") for name in plugins}
    # The limits are inside the guards, so that a refused call of an observer does not change the response.
    _limit_threads(manager, set(_hooks(manager)) - UNLIMITED - {"extend_api"}, shares, PluginShare.guard)
    guards.install(manager, _hooks(manager))
    _limit_threads(manager, {"extend_api"}, shares, _limit_handlers)
    _call_in_background(manager, {name: Background(name) for name in plugins})
    return manager


def shutdown(manager: pluggy.PluginManager, seconds: float = SHUTDOWN_SECONDS) -> None:
    """Call the hook ``shutdown``, and wait for it and for earlier background calls, for ``seconds`` at most."""
    manager.hook.shutdown()
    Background.wait(seconds)


def _call_in_background(manager: pluggy.PluginManager, backgrounds: Mapping[str, Background]) -> None:
    for hook in background.HOOKS:
        arguments = getattr(manager.hook, hook).spec.argnames
        for impl in getattr(manager.hook, hook).get_hookimpls():
            impl.function = backgrounds[impl.plugin_name].guard(impl.function, arguments, impl.argnames)
            impl.argnames = arguments


def _limit_threads(
    manager: pluggy.PluginManager,
    hooks: Iterable[str],
    shares: Mapping[str, PluginShare],
    limited: Callable[[PluginShare, Callable[..., Any]], Callable[..., Any]],
) -> None:
    """Limit the threads of each plugin, because a plugin that hangs must not occupy all of them.

    Wrappers are not limited, because the functions of other plugins run inside them.
    """
    for hook in hooks:
        for impl in getattr(manager.hook, hook).get_hookimpls():
            if not impl.wrapper:
                impl.function = limited(shares[impl.plugin_name], impl.function)


def _limit_handlers(share: PluginShare, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return an ``extend_api`` whose handlers run within the plugin's share of the threads."""
    return lambda *args: [replace(one, handler=share.guard(one.handler)) for one in function(*args)]


def settings_of(names: Sequence[str]) -> Iterator[tuple[str, Sequence[Setting]]]:
    """Return the name of each plugin with the settings that its module lists.

    Raises:
        SettingError: A name is unknown, or ``SETTINGS`` of its module is wrong.
    """
    for name in names:
        settings = getattr(_find(name), "SETTINGS", ())
        if not (isinstance(settings, list | tuple) and all(type(setting) is Setting for setting in settings)):
            raise SettingError(VARIABLE, f"{name}: SETTINGS: expected a list or tuple of Setting")
        if problem := next(filter(None, map(result_checks.problem, settings)), None):
            raise SettingError(VARIABLE, f"{name}: SETTINGS: {problem}")
        yield name, settings


def migrations_of(names: Sequence[str]) -> dict[str, Path]:
    """Return the folders of migrations of plugins with tables, by the names of their modules.

    Names of modules have underscores instead of dots. They are the same for all names that a setting can use.

    Raises:
        SettingError: A name is unknown, or ``MIGRATIONS`` of its module is wrong.
    """
    folders: dict[str, Path] = {}
    for name in names:
        module = _find(name)
        folder = getattr(module, "MIGRATIONS", None)
        if folder is None:
            continue
        if not isinstance(folder, Path) or not folder.is_dir():
            raise SettingError(VARIABLE, f"{name}: MIGRATIONS: expected the Path of a folder, not {folder!r}")
        folders[module.__name__.removeprefix(f"{PLUGINS}.").replace(".", "_")] = folder
    return folders


def available_plugins() -> Iterator[str]:
    """Return the names of installed plugins: the shipped ones, and the entry points."""
    package: Any = find_spec(PLUGINS)
    places = package.submodule_search_locations if package else []
    yield from (module.name for module in iter_modules(places) if not module.name.startswith("_"))
    yield from (point.name for point in entry_points(group=GROUP))


def declared_commands(name: str) -> Sequence[str]:
    """Return the commands that a plugin's module lists in ``COMMANDS``; none if it cannot be imported."""
    try:
        declared = getattr(_find(name), "COMMANDS", ())
    except SettingError:
        return ()
    return declared if isinstance(declared, list | tuple) else ()


def problems(names: Sequence[str], environ: Mapping[str, str]) -> Iterator[SettingError]:
    """Return an error for each plugin with a wrong name or setting."""
    for name in names:
        try:
            create(name, environ)
        except SettingError as error:
            yield error


def load_usable(
    names: Sequence[str], environ: Mapping[str, str]
) -> tuple[pluggy.PluginManager, dict[str, SettingError]]:
    """Create the plugin manager from the plugins that can be loaded, and return the errors of the others by name.

    Raises SettingError for a name that occurs twice.
    """
    usable: dict[str, object] = {}
    wrong: dict[str, SettingError] = {}
    for name in _check_distinct(names):
        try:
            plugin = create(name, environ)
            manage({name: plugin}).hook.extend_cli()
        except SettingError as error:
            wrong[name] = error
        else:
            usable[name] = plugin
    return manage(usable), wrong


def commands_of(manager: pluggy.PluginManager) -> Iterator[tuple[str, Any]]:
    """Return the commands that plugins add, each with the name of the plugin. Raises SettingError."""
    impls: list[Any] = manager.hook.extend_cli.get_hookimpls()
    for impl in reversed(impls):
        if not impl.wrapper:
            for command in impl.function():
                yield impl.plugin_name, command


def implementations(manager: pluggy.PluginManager) -> Iterator[tuple[str, list[str]]]:
    """Return each hook with the names of the plugins that implement it, in the order of calls."""
    for hook in sorted(_hooks(manager)):
        caller = getattr(manager.hook, hook)
        yield hook, [impl.plugin_name for impl in reversed(caller.get_hookimpls())]


def check_constant_hooks(manager: pluggy.PluginManager) -> None:
    """Call the hooks that a server calls when it starts. Raises SettingError for a wrong result."""
    for hook in guards.AT_START:
        getattr(manager.hook, hook)()


def _check_distinct(names: Sequence[str]) -> Sequence[str]:
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise SettingError(VARIABLE, f"named twice: {', '.join(duplicates)}")
    return names


def create(name: str, environ: Mapping[str, str]) -> object:
    """Return the plugin of a name. Raises SettingError."""
    module = _find(name)
    create = getattr(module, "create_plugin", None)
    if create is None:
        return module
    try:
        plugin = create(environ)
    except SettingError:
        raise
    except BaseException as error:
        if guards.is_signal(error):
            raise
        raise SettingError(VARIABLE, f"{name}: create_plugin failed: {_describe(error, module)}") from error
    if plugin is None or isinstance(plugin, type | list | tuple | dict):
        result = f"the class {plugin.__name__}" if isinstance(plugin, type) else type(plugin).__name__
        expected = "an object whose methods are marked @hookimpl"
        raise SettingError(VARIABLE, f"{name}: create_plugin returned {result}, expected {expected}")
    return plugin


def _find(name: str) -> Any:
    try:
        if "." in name:
            return importlib.import_module(name)
        shipped = f"{PLUGINS}.{name}"
        return importlib.import_module(shipped) if find_spec(shipped) else _entry_point(name).load()
    except SettingError:
        raise
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise SettingError(VARIABLE, f"there is no module {name!r} on Python's path") from error
        raise SettingError(VARIABLE, f"{name} needs the package {error.name!r}, which is not installed") from error
    except BaseException as error:
        if guards.is_signal(error):
            raise
        raise SettingError(VARIABLE, f"{name} cannot be imported: {_describe(error)}") from error


def _entry_point(name: str) -> EntryPoint:
    found = entry_points(group=GROUP, name=name)
    if not found:
        text = f"there is no plugin {name!r}: no shipped one, and no entry point in the group {GROUP!r}"
        similar = get_close_matches(name, list(available_plugins()), 1)
        hint = f"Is {similar[0]} meant?" if similar else f"The name of a module has a dot, such as rules.{name}."
        raise SettingError(VARIABLE, f"{text}. {hint}")
    return next(iter(found))


def _describe(error: BaseException, module: Any = None) -> str:
    """Describe an exception and its place: the last line of the module in the traceback, or the last line of all."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({error.filename}, line {error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == getattr(module, "__file__", "")] or frames
    return f"{type(error).__name__}: {error} ({own[-1].filename}, line {own[-1].lineno})"


def _register(manager: pluggy.PluginManager, name: str, plugin: object) -> None:
    try:
        manager.register(plugin, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise SettingError(VARIABLE, f"{name}: {_pluggy_problem(error, manager)}") from error
    if forgotten := sorted(_unmarked(manager, plugin)):
        raise SettingError(
            VARIABLE, f"{name}: functions have names of hooks, but are not marked @hookimpl: {', '.join(forgotten)}"
        )
    _check_synchronous(manager, name)
    implemented = {hook for hook, names in implementations(manager) if name in names}
    if not implemented:
        raise SettingError(VARIABLE, f"{name}: has no function marked @hookimpl")
    for hook, other in REQUIRED_HOOKS.items():
        if hook in implemented and other not in implemented:
            raise SettingError(VARIABLE, f"{name}: implements {hook}, and must also implement {other}")


def _check_synchronous(manager: pluggy.PluginManager, name: str) -> None:
    """Check that the functions of a plugin are neither async nor generators. Raises SettingError."""
    for hook in _hooks(manager):
        for impl in getattr(manager.hook, hook).get_hookimpls():
            if impl.plugin_name != name:
                continue
            if impl.hookwrapper:
                raise SettingError(VARIABLE, f"{name}: {hook}: hookwrapper=True is not supported, use wrapper=True")
            if impl.wrapper and hook in UNWRAPPED:
                raise SettingError(VARIABLE, f"{name}: {hook} cannot be a wrapper")
            if kind := guards.asynchronous_kind(impl.function, wrapper=impl.wrapper):
                raise SettingError(VARIABLE, f"{name}: {hook} is {kind}; expected a plain function")


def _pluggy_problem(error: pluggy.PluginValidationError, manager: pluggy.PluginManager) -> str:
    """Return pluggy's error in one line, with a suggestion."""
    text = " ".join(str(error).split())
    if unknown := re.match(r"unknown hook '(\w+)'", text):
        similar = get_close_matches(unknown[1], _hooks(manager), 1)
        return f"there is no hook {unknown[1]!r}" + (f"; did you mean {similar[0]!r}?" if similar else "")
    if wrong := re.match(r"Plugin .* for hook '(\w+)' .*Argument\(s\) \{(.*)\} are declared", text):
        arguments = ", ".join(getattr(manager.hook, wrong[1]).spec.argnames)
        return f"{wrong[1]} has no argument {wrong[2]}; expected {arguments or 'none'}"
    return text


def _unmarked(manager: pluggy.PluginManager, plugin: object) -> Iterator[str]:
    """Return functions of a plugin that have the name of a hook and are not marked, so that they are never called."""
    owner = plugin if inspect.ismodule(plugin) else type(plugin)
    for hook in _hooks(manager):
        found = getattr(owner, hook, None)
        imported = inspect.ismodule(plugin) and getattr(found, "__module__", "") != plugin.__name__
        if inspect.isroutine(found) and not imported and manager.parse_hookimpl_opts(plugin, hook) is None:
            yield hook


def _hooks(manager: pluggy.PluginManager) -> list[str]:
    return [hook for hook in vars(manager.hook) if hasattr(hookspecs, hook)]

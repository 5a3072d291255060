"""From names to plugins. Nothing loads unnamed, and a wrong plugin stops the start."""

from __future__ import annotations

import importlib
import inspect
import logging
import re
import traceback
from dataclasses import replace
from difflib import get_close_matches
from importlib.metadata import entry_points
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import pluggy

from stacflask import hookspecs
from stacflask.bulkhead import PluginShare
from stacflask.errors import SettingError
from stacflask.model.services import Setting
from stacflask.pluginmanager import guards, result_checks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from importlib.metadata import EntryPoint

VARIABLE = guards.VARIABLE
GROUP = "stacflask"
ALIKE = {"authorize_many": "authorize", "charge_many": "charge"}
"""Hooks that ask about many at once what others ask of one: alone, they would let single downloads pass by."""

AT_START = {"startup", "extend_cli", "challenge"}
"""Hooks that are called while no request is waiting, or whose answers are constant."""

log = logging.getLogger(__name__)


def load_plugins(names: Sequence[str], environ: Mapping[str, str]) -> pluggy.PluginManager:
    """Build the plugin manager from names, the first of which is asked first.

    A name with a dot is a module; one without is an entry point in group ``stacflask``. A module with
    ``create_plugin(environ)`` is asked for its plugin, any other is the plugin.

    :raises SettingError: a name is unknown or given twice, or the plugin misses a setting or misspells a hook.
    """
    return manage({name: _create(name, environ) for name in _distinct(names)})


def manage(plugins: Mapping[str, object]) -> pluggy.PluginManager:
    """Build the plugin manager from plugins by name; what is wrong with one is told by its name."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    # pluggy asks whoever registered last first; the setting reads the other way round.
    for name, plugin in reversed(list(plugins.items())):
        _register(manager, name, plugin)
    log.info("plugins: %s", ", ".join(plugins) or "none")
    shares = {name: PluginShare(f"plugin {name}") for name in plugins}
    # Inside of the guards: a share that refuses an observer's call changes no answer.
    _bound(manager, set(_hooks(manager)) - AT_START - {"extend_api"}, shares, PluginShare.guard)
    guards.look_at(manager, _hooks(manager))
    _bound(manager, {"extend_api"}, shares, _with_bound_handlers)
    return manager


def _bound(
    manager: pluggy.PluginManager,
    hooks: Iterable[str],
    shares: Mapping[str, PluginShare],
    bound: Callable[[PluginShare, Callable[..., Any]], Callable[..., Any]],
) -> None:
    """Give each plugin a share of the threads: one whose functions hang must not occupy all of them.

    Wrappers are left out: what runs inside of them is the functions of other plugins.
    """
    for hook in hooks:
        for impl in getattr(manager.hook, hook).get_hookimpls():
            if not impl.wrapper:
                impl.function = bound(shares[impl.plugin_name], impl.function)


def _with_bound_handlers(share: PluginShare, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return an ``extend_api`` whose endpoints run within the plugin's share."""
    return lambda *args: [replace(one, handler=share.guard(one.handler)) for one in function(*args)]


def settings_of(names: Sequence[str]) -> Iterator[tuple[str, Sequence[Setting]]]:
    """Give each plugin's name with the settings that its module tells of.

    :raises SettingError: a name is unknown, or what its module tells are no settings.
    """
    for name in names:
        told = getattr(_find(name), "SETTINGS", ())
        if not (isinstance(told, list | tuple) and all(type(one) is Setting for one in told)):
            raise SettingError(VARIABLE, f"{name}: SETTINGS: expected a list or tuple of Setting")
        if problem := next(filter(None, map(result_checks.problem, told)), None):
            raise SettingError(VARIABLE, f"{name}: SETTINGS: {problem}")
        yield name, told


def shipped() -> Iterator[str]:
    """Give the names of plugins that could be named: the modules of a package ``plugins``, and entry points."""
    package: Any = find_spec("plugins")
    places = package.submodule_search_locations if package else []
    for module in iter_modules(places):
        if not module.name.startswith("_"):
            yield f"plugins.{module.name}"
    yield from (point.name for point in entry_points(group=GROUP))


def declared_commands(name: str) -> Sequence[str]:
    """Give the commands that a plugin's module declares in ``COMMANDS``; none if it cannot be imported."""
    try:
        declared = getattr(_find(name), "COMMANDS", ())
    except SettingError:
        return ()
    return declared if isinstance(declared, list | tuple) else ()


def problems(names: Sequence[str], environ: Mapping[str, str]) -> Iterator[SettingError]:
    """Find what is wrong with each plugin's settings, or with its name."""
    for name in names:
        try:
            _create(name, environ)
        except SettingError as error:
            yield error


def load_usable(
    names: Sequence[str], environ: Mapping[str, str]
) -> tuple[pluggy.PluginManager, dict[str, SettingError]]:
    """Build the plugin manager from those plugins that can be loaded, and say what is wrong with each of the others.

    Raises SettingError for a name that is given twice.
    """
    usable: dict[str, object] = {}
    wrong: dict[str, SettingError] = {}
    for name in _distinct(names):
        try:
            plugin = _create(name, environ)
            manage({name: plugin}).hook.extend_cli()
        except SettingError as error:
            wrong[name] = error
        else:
            usable[name] = plugin
    return manage(usable), wrong


def commands_of(manager: pluggy.PluginManager) -> Iterator[tuple[str, Any]]:
    """Give the commands that plugins add, each with the plugin's name. Raises SettingError."""
    impls: list[Any] = manager.hook.extend_cli.get_hookimpls()
    for impl in reversed(impls):
        if not impl.wrapper:
            for command in impl.function():
                yield impl.plugin_name, command


def answerers(manager: pluggy.PluginManager) -> Iterator[tuple[str, list[str]]]:
    """Give each hook with the names of the plugins that implement it, in the order in which they are asked."""
    for hook in sorted(_hooks(manager)):
        caller = getattr(manager.hook, hook)
        yield hook, [impl.plugin_name for impl in reversed(caller.get_hookimpls())]


def hear(manager: pluggy.PluginManager) -> None:
    """Ask started plugins what is asked at a server's start. Raises SettingError for a wrong answer."""
    for hook in guards.AT_START:
        getattr(manager.hook, hook)()


def _distinct(names: Sequence[str]) -> Sequence[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingError(VARIABLE, f"named twice: {', '.join(twice)}")
    return names


def _create(name: str, environ: Mapping[str, str]) -> object:
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
        raise SettingError(VARIABLE, f"{name}: create_plugin failed: {_told(error, module)}") from error
    if plugin is None or isinstance(plugin, type | list | tuple | dict):
        given = f"the class {plugin.__name__}" if isinstance(plugin, type) else type(plugin).__name__
        expected = "an object whose methods are marked @hookimpl"
        raise SettingError(VARIABLE, f"{name}: create_plugin gave {given}, expected {expected}")
    return plugin


def _find(name: str) -> Any:
    try:
        return importlib.import_module(name) if "." in name else _entry_point(name).load()
    except SettingError:
        raise
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise SettingError(VARIABLE, f"there is no module {name!r} on Python's path") from error
        raise SettingError(VARIABLE, f"{name} needs the package {error.name!r}, which is not installed") from error
    except BaseException as error:
        if guards.is_signal(error):
            raise
        raise SettingError(VARIABLE, f"{name} cannot be imported: {_told(error)}") from error


def _entry_point(name: str) -> EntryPoint:
    found = entry_points(group=GROUP, name=name)
    if not found:
        text = f"no installed distribution has the entry point {name!r} in group {GROUP!r}"
        raise SettingError(VARIABLE, f"{text}; a module's name has a dot: plugins.my_rule")
    return next(iter(found))


def _told(error: BaseException, module: Any = None) -> str:
    """Tell an exception and where it was raised: of this module's lines, if there are any, the last."""
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
        raise SettingError(VARIABLE, f"{name}: {_explained(error, manager)}") from error
    if forgotten := sorted(_unmarked(manager, plugin)):
        raise SettingError(VARIABLE, f"{name}: named like hooks and not marked @hookimpl: {', '.join(forgotten)}")
    _check_plain(manager, name)
    answered = {hook for hook, names in answerers(manager) if name in names}
    if not answered:
        raise SettingError(VARIABLE, f"{name}: has no function marked @hookimpl")
    for many, one in ALIKE.items():
        if many in answered and one not in answered:
            raise SettingError(VARIABLE, f"{name}: implements {many}, and must implement {one}, too")


def _check_plain(manager: pluggy.PluginManager, name: str) -> None:
    """Check that a plugin's functions return what they return at once. Raises SettingError."""
    for hook in _hooks(manager):
        for impl in getattr(manager.hook, hook).get_hookimpls():
            if impl.plugin_name != name:
                continue
            if impl.hookwrapper:
                raise SettingError(VARIABLE, f"{name}: {hook}: hookwrapper=True is not supported; use wrapper=True")
            if kind := guards.later(impl.function, wrapper=impl.wrapper):
                raise SettingError(VARIABLE, f"{name}: {hook} is {kind}; expected a plain function")


def _explained(error: pluggy.PluginValidationError, manager: pluggy.PluginManager) -> str:
    """Give what pluggy says in one line, and what may have been meant."""
    text = " ".join(str(error).split())
    if unknown := re.match(r"unknown hook '(\w+)'", text):
        meant = get_close_matches(unknown[1], _hooks(manager), 1)
        return f"there is no hook {unknown[1]!r}" + (f"; is {meant[0]!r} meant?" if meant else "")
    if wrong := re.match(r"Plugin .* for hook '(\w+)' .*Argument\(s\) \{(.*)\} are declared", text):
        known = ", ".join(getattr(manager.hook, wrong[1]).spec.argnames)
        return f"{wrong[1]} has no argument {wrong[2]}; it has {known or 'none'}"
    return text


def _unmarked(manager: pluggy.PluginManager, plugin: object) -> Iterator[str]:
    """Find functions in a plugin's text that have a hook's name, and would never be asked."""
    written = plugin if inspect.ismodule(plugin) else type(plugin)
    for hook in _hooks(manager):
        found = getattr(written, hook, None)
        imported = inspect.ismodule(plugin) and getattr(found, "__module__", "") != plugin.__name__
        if inspect.isroutine(found) and not imported and manager.parse_hookimpl_opts(plugin, hook) is None:
            yield hook


def _hooks(manager: pluggy.PluginManager) -> list[str]:
    return [hook for hook in vars(manager.hook) if hasattr(hookspecs, hook)]

"""From names to plugins. Nothing loads unnamed, and a wrong plugin stops the start."""

from __future__ import annotations

import importlib
import logging
from dataclasses import replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import pluggy

from stacflask import hookspecs
from stacflask.errors import SettingError
from stacflask.values import Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from stacflask.values import Setting

VARIABLE = "STACFLASK_PLUGINS"
GROUP = "stacflask"
DECIDING = ("authorize", "authorize_many", "charge", "authorize_change")

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
    _sign(manager)
    return manager


def settings_of(names: Sequence[str]) -> Iterator[tuple[str, Sequence[Setting]]]:
    """Give each plugin's name with the settings that its module tells of. Raises SettingError for an unknown name."""
    for name in names:
        yield name, getattr(_find(name), "SETTINGS", ())


def problems(names: Sequence[str], environ: Mapping[str, str]) -> Iterator[SettingError]:
    """Find what is wrong with each plugin's settings, or with its name."""
    for name in names:
        try:
            _create(name, environ)
        except SettingError as error:
            yield error


def answerers(manager: pluggy.PluginManager) -> Iterator[tuple[str, list[str]]]:
    """Give each hook with the names of the plugins that implement it, in the order in which they are asked."""
    for hook in sorted(vars(manager.hook)):
        caller = getattr(manager.hook, hook)
        yield hook, [impl.plugin_name for impl in reversed(caller.get_hookimpls())]


def _sign(manager: pluggy.PluginManager) -> None:
    """Let each decision say which plugin gave it: pluggy collects the answers, and not whose they are."""
    for hook in DECIDING:
        for impl in getattr(manager.hook, hook).get_hookimpls():
            if not (impl.wrapper or impl.hookwrapper):
                impl.function = _signed(impl.function, impl.plugin_name)


def _signed(answer: Callable[..., Any], name: str) -> Callable[..., Any]:
    # Many assets on end often get the very same answer.
    last: tuple[Decision, Decision] | None = None

    def by_name(given: Any) -> Any:
        nonlocal last
        if isinstance(given, list | tuple):
            return [by_name(one) for one in given]
        if not isinstance(given, Decision):
            return given
        known = last
        if known is None or known[0] is not given:
            known = last = given, replace(given, by=name)
        return known[1]

    return lambda *args: by_name(answer(*args))


def _distinct(names: Sequence[str]) -> Sequence[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingError(VARIABLE, f"named twice: {', '.join(twice)}")
    return names


def _create(name: str, environ: Mapping[str, str]) -> object:
    module = _find(name)
    create = getattr(module, "create_plugin", None)
    return module if create is None else create(environ)


def _find(name: str) -> object:
    if "." not in name:
        found = entry_points(group=GROUP, name=name)
        if not found:
            raise SettingError(VARIABLE, f"no installed distribution has the entry point {name!r} in group {GROUP!r}")
        return next(iter(found)).load()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise SettingError(VARIABLE, f"there is no module {name!r}") from error
        raise SettingError(VARIABLE, f"{name} needs the package {error.name!r}, which is not installed") from error


def _register(manager: pluggy.PluginManager, name: str, plugin: object) -> None:
    try:
        manager.register(plugin, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise SettingError(VARIABLE, f"{name}: {' '.join(str(error).split())}") from error

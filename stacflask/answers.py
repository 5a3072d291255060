"""What plugins answer: of the kind that a hook asks for, and signed with the plugin's name.

pluggy collects the answers and not whose they are. So each function is asked through one that looks at its answer: a
wrong one is told by the plugin's name, instead of by whatever stumbles over it later. What a plugin raises goes on, and
notes whose it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import NoneType
from typing import TYPE_CHECKING, Any

import click

from stacflask.errors import SettingError
from stacflask.values import Challenge, Decision, Endpoint, Loan, Location, Order, Principal, Redirect, Stream

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pluggy

VARIABLE = "STACFLASK_PLUGINS"

ONE: dict[str, tuple[type, ...]] = {
    "authenticate": (Principal,),
    "recall": (Principal,),
    "restrict": (dict, bool),
    "authorize": (Decision,),
    "authorize_change": (Decision,),
    "charge": (Decision,),
    "charge_many": (Decision,),
    "resolve": (Location,),
    "deliver": (Redirect, Stream),
    "presign": (Redirect,),
    "lend": (Loan,),
    "order": (Order,),
    "order_states": (Mapping,),
}
"""Hooks that are answered by one of these, or None."""

SEVERAL: dict[str, type] = {
    "extend_cli": click.Command,
    "extend_api": Endpoint,
    "check_setup": str,
    "challenge": Challenge,
    "authorize_many": Decision,
}
"""Hooks that are answered by a list of these."""

AT_START = ("extend_cli", "extend_api", "challenge")
"""Hooks whose answers are heard at the start: what is wrong with them stops it."""

Look = Callable[[Any], Any]
"""Gives an answer as it is passed on; raises what tells that it is wrong."""


def look_at(manager: pluggy.PluginManager, hooks: Iterable[str]) -> None:
    """Have every answer of these plugins looked at. Wrappers, which see what others answer, are left as they are."""
    for hook in hooks:
        for impl in getattr(manager.hook, hook).get_hookimpls():
            if not (impl.wrapper or impl.hookwrapper):
                impl.function = _asked(impl.function, hook, impl.plugin_name)


def _asked(answer: Callable[..., Any], hook: str, name: str) -> Callable[..., Any]:
    note = f"This was plugin {name}, asked by hook {hook}."
    look = _look(hook, name)
    # A page asks for thousands: what is right needs no second call.
    right = (*ONE[hook], NoneType) if hook in ONE and hook not in FURTHER else ()

    def asked(*args: Any) -> Any:
        try:
            given = answer(*args)
        except Exception as error:
            # Somebody may raise the same one again and again.
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)
            raise
        return given if isinstance(given, right) else look(given)

    return asked


def _look(hook: str, name: str) -> Look:
    if hook not in ONE and hook not in SEVERAL:
        return lambda given: given
    return _each(hook, name) if hook in SEVERAL else FURTHER.get(hook, _one)(hook, name)


def _one(hook: str, name: str) -> Look:
    kinds = ONE[hook]

    def look(given: Any) -> Any:
        if given is None or isinstance(given, kinds):
            return given
        raise _wrong(hook, name, given)

    return look


def _principal(hook: str, name: str) -> Look:
    """Look into it, too: any part of a text would be a group of somebody whose groups are a text."""
    one = _one(hook, name)

    def look(given: Any) -> Any:
        if one(given) and not isinstance(given.groups, frozenset):
            raise TypeError(f"{name}: {hook}: expected groups to be a frozenset, got {_named(given.groups)}")
        if given and not isinstance(given.scopes, frozenset | None):
            raise TypeError(f"{name}: {hook}: expected scopes to be a frozenset or None, got {_named(given.scopes)}")
        return given

    return look


def _signed(hook: str, name: str) -> Look:
    """Let each decision say which plugin gave it."""
    one = _one(hook, name)
    # Many assets on end often get the very same answer.
    last: tuple[Decision, Decision] | None = None

    def look(given: Any) -> Any:
        nonlocal last
        if given is None:
            return None
        known = last
        if known is None or known[0] is not given:
            known = last = given, replace(one(given), by=name)
        return known[1]

    return look


def _each(hook: str, name: str) -> Look:
    sign = _signed("authorize", name) if hook == "authorize_many" else None
    kind = SEVERAL[hook]

    def look(given: Any) -> Any:
        if not isinstance(given, list | tuple):
            raise _wrong(hook, name, given)
        if sign is not None:
            return [sign(one) for one in given]
        for one in given:
            if not isinstance(one, kind):
                raise _wrong(hook, name, given)
        return given

    return look


FURTHER = {
    "authenticate": _principal,
    "recall": _principal,
    "authorize": _signed,
    "authorize_change": _signed,
    "charge": _signed,
    "charge_many": _signed,
}
"""Hooks whose answers are looked into, or signed, besides."""


def _wrong(hook: str, name: str, given: Any) -> Exception:
    if hook in ONE:
        expected = f"{' or '.join(kind.__name__ for kind in ONE[hook])} or None"
    else:
        expected = f"a list of {SEVERAL[hook].__name__}"
    text = f"{name}: {hook}: expected {expected}, got {_named(given)}"
    return SettingError(VARIABLE, text) if hook in AT_START else TypeError(text)


def _named(given: Any) -> str:
    if isinstance(given, type):
        return f"the class {given.__name__}"
    parts = sorted({type(one).__name__ for one in given}) if isinstance(given, list | tuple) else []
    return f"{type(given).__name__}{' of ' if parts else ''}{', '.join(parts)}"

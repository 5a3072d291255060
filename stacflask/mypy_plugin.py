"""A plugin for mypy that checks functions marked ``@hookimpl`` against the specifications of hooks.

Enable it in the configuration of mypy: ``plugins = ["stacflask.mypy_plugin"]``. It compares the name of a function, the
names and types of its arguments, and the type of its result with ``hookspecs.py`` itself, as mypy has read it. A
function without annotations has no types to compare: its name and the names of its arguments are checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Any, cast

from mypy.messages import format_type
from mypy.nodes import (
    ArgKind,
    CallExpr,
    ClassDef,
    Decorator,
    Expression,
    FuncDef,
    Import,
    ImportFrom,
    MypyFile,
    RefExpr,
    Statement,
    StrExpr,
)
from mypy.plugin import MethodContext, Plugin
from mypy.subtypes import is_subtype
from mypy.types import CallableType, Type

SPECIFICATIONS = "stacflask.hookspecs"
MARKER = f"{SPECIFICATIONS}.hookimpl"


def plugin(_version: str) -> type[Plugin]:
    """Return the plugin. mypy calls this function."""
    return HookPlugin


class HookPlugin(Plugin):
    """Checks the functions that a module marks as implementations of hooks."""

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        """Return the check for calls of pluggy's marker, with and without options."""
        return _check_call if fullname.endswith(".HookimplMarker.__call__") else None

    def get_additional_deps(self, file: MypyFile) -> list[tuple[int, str, int]]:
        """Return the specifications for a module that imports stacflask, so that it is checked again if they change."""
        names = [name for one in file.imports if isinstance(one, Import) for name, _ in one.ids]
        names += [one.id for one in file.imports if isinstance(one, ImportFrom)]
        return [(10, SPECIFICATIONS, -1)] if "stacflask" in names else []


def _check_call(context: MethodContext) -> Type:
    """Check the function that is decorated, or to which the marker with options is applied next."""
    call, api = context.context, cast("Any", context.api)
    for decorated in [call] if isinstance(call, Decorator) else _functions(api.tree.defs):
        if decorated is call or any(one is call for one in decorated.original_decorators):
            for problem in _problems(api, decorated):
                api.fail(problem, decorated.func)
    return context.default_return_type


def _functions(statements: Iterable[Statement]) -> Iterator[Decorator]:
    """Yield the decorated functions of a module, also those in classes and functions."""
    for statement in statements:
        if isinstance(statement, Decorator):
            yield statement
            yield from _functions(statement.func.body.body)
        elif isinstance(statement, FuncDef):
            yield from _functions(statement.body.body)
        elif isinstance(statement, ClassDef):
            yield from _functions(statement.defs.body)


def _problems(api: Any, decorated: Decorator) -> Iterator[str]:
    marker = next(filter(_is_marker, decorated.original_decorators), None)
    if marker is None:
        return
    name = _specname(marker) or decorated.func.name
    hooks = _specifications(api)
    if name not in hooks:
        similar = "".join(f'; did you mean "{near}"?' for near in get_close_matches(name, hooks, 1))
        yield f'there is no hook "{name}"{similar}'
        return
    function = api.function_type(decorated.func)  # Of a function without annotations, all types are Any.
    for problem in _differences(hooks[name], function, decorated, lambda shown: format_type(shown, api.options)):
        yield f'hook "{name}" {problem}'


def _specifications(api: Any) -> dict[str, CallableType]:
    """Return the types of all hooks by name."""
    symbols = api.modules[SPECIFICATIONS].names.items()
    types = {name: symbol.node.func.type for name, symbol in symbols if isinstance(symbol.node, Decorator)}
    return {name: found for name, found in types.items() if isinstance(found, CallableType)}


def _is_marker(decorator: Expression) -> bool:
    called = decorator.callee if isinstance(decorator, CallExpr) else decorator
    return isinstance(called, RefExpr) and called.fullname == MARKER


def _specname(marker: Expression) -> str | None:
    options = zip(marker.arg_names, marker.args, strict=True) if isinstance(marker, CallExpr) else ()
    return next((value.value for name, value in options if name == "specname" and isinstance(value, StrExpr)), None)


def _differences(
    specified: CallableType, function: CallableType, decorated: Decorator, text: Callable[[Type], str]
) -> Iterator[str]:
    passed = dict(zip(specified.arg_names, specified.arg_types, strict=True))
    is_method = bool(decorated.func.info) and not decorated.func.is_static
    arguments = zip(function.arg_names, function.arg_types, function.arg_kinds, strict=True)
    for name, accepted, kind in list(arguments)[int(is_method) :]:
        if kind is not ArgKind.ARG_POS:  # pluggy does not pass arguments that have a default.
            continue
        if name not in passed:
            yield f'has no argument "{name}"; expected {", ".join(map(str, passed)) or "none"}'
        elif not is_subtype(passed[name], accepted):
            yield f'passes {text(passed[name])} as "{name}"; the function accepts {text(accepted)}'
    # The result of a wrapper is what its generator returns.
    if not decorated.func.is_generator and not is_subtype(function.ret_type, specified.ret_type):
        yield f"expects {text(specified.ret_type)}; the function returns {text(function.ret_type)}"

"""The page of log events: the calls of loggers in the code, with their fields."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, TypeGuard

from dev.reference import GENERATED, item, sources

if TYPE_CHECKING:
    from collections.abc import Iterator

INTRODUCTION = f"""# Log events

This page lists the events in the log, with their fields. {GENERATED}

Each line is one event: a JSON object, or text with `STACFLASK_LOG_FORMAT=text`.

- `time`: UTC (RFC 3339), in milliseconds.
- `level`: `DEBUG`, `INFO`, `WARNING` or `ERROR`.
- `logger`: The module that logs the event.
- `message`: The event, as in the lists below.
- `process`: The process id.
- `request_id`: The request, which the client gets as `X-Request-ID`; null outside of a request.
- `trace_id`: The trace of the request (W3C Trace Context); null if there is none.
- `plugin`: The plugin, in lines of the module of a plugin and of modules below it.
- `exc_info`: A traceback, for errors that are not the request's fault.

Further fields depend on the event. No event has header fields, queries, keys or signed URLs. In a path, credentials are
`***`.

"""
LEVELS = ("debug", "info", "warning", "error", "exception", "log")
TEXTS = {"%s %s": "download granted` or `download refused"}
"""Messages that are put together, as they are in the log."""
LOGGERS = ("log", "self.log", "server.log", "self.access_log")


def page() -> str:
    """Return the page: the events of each package, in the order of their text."""
    sections: dict[str, set[str]] = {}
    for package, entry in _events():
        sections.setdefault(package, set()).add(entry)
    lists = (f"## {package}\n\n{''.join(sorted(entries))}" for package, entries in sections.items())
    return INTRODUCTION + "\n".join(lists)


def _events() -> Iterator[tuple[str, str]]:
    """Return the package and the list item of each event."""
    for path, tree in sources():
        package = ".".join(path.with_suffix("").parts[:2])
        yield from ((package, _entry(call)) for call in ast.walk(tree) if _is_event(call))


def _is_event(call: ast.AST) -> TypeGuard[ast.Call]:
    function = call.func if isinstance(call, ast.Call) else None
    return isinstance(function, ast.Attribute) and function.attr in LEVELS and ast.unparse(function.value) in LOGGERS


def _entry(call: ast.Call) -> str:
    level = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    texts = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    fields = [f"`{name}`" for keyword in call.keywords if keyword.arg == "extra" for name in _names(keyword.value)]
    level = {"log": "info or debug", "exception": "error"}.get(level, level)
    text = texts[0] if texts else "%s"
    return item(f"`{TEXTS.get(text, text)}` ({level}){': ' if fields else ''}{', '.join(fields)}")


def _names(value: ast.expr) -> Iterator[str]:
    """Return the names of the fields that are written in the call. Other fields are those of its arguments."""
    for key in value.keys if isinstance(value, ast.Dict) else ():
        yield key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else "fields of the asset"

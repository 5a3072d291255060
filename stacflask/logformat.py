"""Formats of log lines. Imports nothing but the standard library, because gunicorn's first process uses it as well."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

CONTEXT = ("request_id", "trace_id")
"""Attributes that a record may have of the request it was made in."""
# What every record carries, and what formatting leaves in it.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", *CONTEXT}


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """Return what a record carries besides its message."""
    return {name: value for name, value in vars(record).items() if name not in _USUAL}


def _time(record: logging.LogRecord) -> str:
    """Return a record's time in UTC (RFC 3339)."""
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _encoded(line: dict[str, Any]) -> str:
    return json.dumps(line, default=str)


class JsonFormatter(logging.Formatter):
    """Lines for programs: one JSON object for each event, every field a member of its own."""

    def __init__(self, encoded: Callable[[dict[str, Any]], str] = _encoded) -> None:
        super().__init__()
        self._encoded = encoded

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line."""
        line = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **{name: getattr(record, name, None) for name in CONTEXT},
            **_fields(record),
        }
        if record.exc_info:
            line["exc_info"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack_info"] = record.stack_info
        return self._encoded(line)


class TextFormatter(logging.Formatter):
    """Lines for people: the fields of a record follow its message as ``name=value``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's
        """Return a record's time in UTC."""
        return _time(record)

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; an exception follows on lines of its own."""
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        return f"{super().format(record)}  {fields}".rstrip()

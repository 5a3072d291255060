"""Formats of log lines. Imports only the standard library, because gunicorn's main process uses it as well."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

CONTEXT = ("request_id", "trace_id")
"""Attributes of a record that come from the current request."""
# Attributes that every record has, and those that formatting adds.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", *CONTEXT}


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """Return the fields of a record besides its message."""
    return {name: value for name, value in vars(record).items() if name not in _USUAL}


def _time(record: logging.LogRecord) -> str:
    """Return a record's time in UTC (RFC 3339)."""
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _encoded(line: dict[str, Any]) -> str:
    return json.dumps(line, default=str)


class JsonFormatter(logging.Formatter):
    """Format each event as one JSON object. Each field is a member."""

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
    """Format each event as text. The fields follow the message as ``name=value``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's
        """Return a record's time in UTC."""
        return _time(record)

    def format(self, record: logging.LogRecord) -> str:
        """Format a record. An exception follows on further lines."""
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        return f"{super().format(record)}  {fields}".rstrip()

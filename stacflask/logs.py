"""Logs: one line an event, as JSON or for people, each with its request's id. Never a header, query or secret."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING

import orjson
from flask import g, has_request_context

if TYPE_CHECKING:
    from stacflask.settings import Settings

ROOTS = ("stacflask", "plugins")


class _RequestId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = g.get("request_id") if has_request_context() else None
        return True


# What every record carries, and what formatting leaves in it.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "request_id", "taskName"}


def _more(record: logging.LogRecord) -> dict[str, object]:
    """Give what a record carries besides its message."""
    return {name: value for name, value in vars(record).items() if name not in _USUAL}


class _Json(logging.Formatter):
    """Lines for programs: every name a member of its own."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": record.request_id,  # type: ignore[attr-defined]
            **_more(record),
        }
        if record.exc_info:
            line["exc_info"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str).decode()
        except orjson.JSONEncodeError:  # half a surrogate pair, or a number of more than 64 bits
            return json.dumps(line, default=str)


class _Text(logging.Formatter):
    """Lines for people: what a record carries besides its message follows as ``name=value``."""

    def format(self, record: logging.LogRecord) -> str:
        more = " ".join(f"{name}={value}" for name, value in _more(record).items())
        return f"{super().format(record)}  {more}".rstrip()


def configure(settings: Settings) -> None:
    """Send this program's logs to standard error, once per process."""
    people = _Text("%(asctime)s %(levelname)-7s %(message)s")
    formatter = _Json() if settings.log_format == "json" else people
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(_RequestId())
    for name in ROOTS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(settings.log_level.upper())
        logger.propagate = False

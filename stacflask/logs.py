"""Logs: one line an event, as JSON or for people, each with its request's id. Never a header, query or secret."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from flask import g, has_request_context
from pythonjsonlogger.json import JsonFormatter

if TYPE_CHECKING:
    from stacflask.settings import Settings

ROOTS = ("stacflask", "plugins")


class _RequestId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = g.get("request_id") if has_request_context() else None
        return True


class _Text(logging.Formatter):
    """Lines for people: what a record carries besides its message follows as ``name=value``."""

    _usual = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "request_id", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        more = " ".join(f"{name}={value}" for name, value in vars(record).items() if name not in self._usual)
        return f"{super().format(record)}  {more}".rstrip()


def configure(settings: Settings) -> None:
    """Send this program's logs to standard error, once per process."""
    formatter: logging.Formatter = (
        JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s %(request_id)s", rename_fields=RENAMED)
        if settings.log_format == "json"
        else _Text("%(asctime)s %(levelname)-7s %(message)s")
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(_RequestId())
    for name in ROOTS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(settings.log_level.upper())
        logger.propagate = False


RENAMED = {"asctime": "time", "levelname": "level", "name": "logger"}

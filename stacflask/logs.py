"""Configure the log: one line for each event, with its request id, and no header, query or secret."""

from __future__ import annotations

import json
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

import orjson
from flask import g, has_request_context

from stacflask.locations import PLUGINS
from stacflask.logformat import CONTEXT, JsonFormatter, TextFormatter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stacflask.settings import Settings

OWN_PACKAGES = ("stacflask", PLUGINS)

log = logging.getLogger(__name__)


class _Context(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        inside = has_request_context()
        for name in CONTEXT:
            setattr(record, name, g.get(name) if inside else None)
        return True


class _Handler(logging.StreamHandler[Any]):
    """The log handler of stacflask. A process has one."""


def _encoded(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except orjson.JSONEncodeError:  # half a surrogate pair, or a number of more than 64 bits
        return json.dumps(line, default=str)


def configure(settings: Settings) -> None:
    """Send all logs of the process to standard error; of libraries, only warnings and errors."""
    close()
    handler = _Handler(sys.stderr)
    handler.setFormatter(JsonFormatter(_encoded) if settings.log_format == "json" else TextFormatter())
    handler.addFilter(_Context())
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(capture=True)
    threading.excepthook = _log_thread
    set_level(OWN_PACKAGES, settings)


def set_level(names: Iterable[str], settings: Settings) -> None:
    """Set the log level of these packages to the level of the settings."""
    for name in {name.partition(".")[0] for name in names}:
        logging.getLogger(name).setLevel(settings.log_level.upper())


def close() -> None:
    """Remove the handler. It writes to the stream that was standard error when it was created."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(handler)


def _log_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None:
        log.error(
            "thread failed", exc_info=failed.exc_value, extra={"name_of_thread": getattr(failed.thread, "name", None)}
        )

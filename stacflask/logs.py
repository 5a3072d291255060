"""Configure the log: one line for each event, with its request id, and no header, query or secret."""

import json
import logging
import sys
import threading
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import orjson
from flask import g, has_request_context

from stacflask.locations import PLUGINS
from stacflask.logformat import CONTEXT, JsonFormatter, TextFormatter
from stacflask.settings import Settings

OWN_PACKAGES = ("stacflask", PLUGINS)

log = logging.getLogger(__name__)


class _Context(logging.Filter):
    """Adds the request and the plugin to a record. ``plugins``: names of plugins by module or package."""

    plugins: Mapping[str, str] = MappingProxyType({})

    def filter(self, record: logging.LogRecord) -> bool:
        # A background call of a plugin has the id of its request as an attribute of its thread.
        source = g if has_request_context() else threading.current_thread()
        for name in CONTEXT:
            setattr(record, name, getattr(source, name, None))
        if plugin := self._plugin(record.name):
            vars(record).setdefault("plugin", plugin)
        return True

    def _plugin(self, logger: str) -> str | None:
        """Return the name of the plugin in whose module or package a logger is."""
        while logger:
            if logger in self.plugins:
                return self.plugins[logger]
            logger = logger.rpartition(".")[0]
        return None


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
    _set_level(OWN_PACKAGES, settings)


def set_plugins(modules: Mapping[str, str], settings: Settings) -> None:
    """Add the name of a plugin to records of its modules, and set the log level of its package.

    Args:
        modules: The module of each plugin, by the plugin's name.
        settings: The settings, with the level.
    """
    _set_level(modules.values(), settings)
    # The object of a plugin can be from a module below the one that the plugin is named after.
    _Context.plugins = {name if module.startswith(name) else module: name for name, module in modules.items()}


def _set_level(names: Iterable[str], settings: Settings) -> None:
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

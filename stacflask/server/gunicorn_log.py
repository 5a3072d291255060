"""gunicorn's log in the format of the application's log."""

import logging
import os
from typing import Any

from gunicorn.glogging import Logger

from stacflask.logformat import JsonFormatter, TextFormatter


class ServerLogger(Logger):  # type: ignore[misc]
    """Formats gunicorn's events, and its access log if enabled, according to STACFLASK_LOG_FORMAT."""

    def setup(self, cfg: Any) -> None:
        """Set the formatter of gunicorn's loggers."""
        super().setup(cfg)
        text = os.environ.get("STACFLASK_LOG_FORMAT", "").strip().lower() == "text"
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            if not isinstance(handler, logging.NullHandler):
                handler.setFormatter(TextFormatter() if text else JsonFormatter())

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Log a request after its response was sent. The application sets the path without secrets in it."""
        if self.access_log_enabled:
            self.access_log.info(
                "request sent",
                extra={
                    "method": req.method,
                    "path": environ.get("stacflask.path"),
                    "status": int(str(resp.status).partition(" ")[0]) if resp.status else None,
                    "bytes": resp.sent,
                    "duration": round(request_time.total_seconds(), 4),
                    "client": environ.get("REMOTE_ADDR"),
                },
            )

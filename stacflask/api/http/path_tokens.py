"""Credentials in the path, ``/signed/{token}/...``, for clients that append paths to a URL and drop its query.

The token is removed from the path before routing, so that routes, logs and links have the plain path.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from stacflask.current import TOKEN

PREFIX = "/signed/"
_FORM = re.compile(r"/signed/([^/]+)(/.*)?", re.DOTALL)
_RAW = re.compile(r"/signed/[^/?]+")


class PathTokens:
    """WSGI middleware that moves the token from the path to the WSGI environment."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Call the application with the plain path."""
        environ.pop(TOKEN, None)
        path = environ.get("PATH_INFO", "")
        if path.startswith(PREFIX) and (found := _FORM.fullmatch(path)):
            environ[TOKEN] = found[1]
            environ["PATH_INFO"] = found[2] or "/"
            for name in ("RAW_URI", "REQUEST_URI"):
                if name in environ:
                    environ[name] = _RAW.sub("", environ[name], count=1)
        return self._app(environ, start_response)

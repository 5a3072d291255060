"""The client of an application that tests use."""

from __future__ import annotations

from typing import Any

from flask import Flask, g, request
from flask.testing import FlaskClient

from stacflask import current
from stacflask.model.principal import Principal

USER = "stacflask.testing.user"
"""Key of the principal in the WSGI environ."""


class Client(FlaskClient):
    """A client of the application. Its requests have an argument ``user``: ``client.get(url, user=as_user("ann"))``."""

    def open(self, *args: Any, user: Principal | None = None, **kwargs: Any) -> Any:
        """Send a request, as a user or with the credentials of its header fields."""
        if user is not None:
            kwargs["environ_overrides"] = {**kwargs.get("environ_overrides", {}), USER: user}
        return super().open(*args, **kwargs)


def accept_users(app: Flask) -> None:
    """Let the clients of an application send requests as a user."""
    app.test_client_class = Client
    app.before_request(_use_user)


def _use_user() -> None:
    if USER in request.environ:
        g.principal = current.gate().with_groups(request.environ[USER])

"""The limit of Flask: a constant response of BENCH_BYTES bytes, with the settings of the server.

It is measured twice: with gunicorn's own worker, which is the limit, and with the worker of stacflask.
"""

from __future__ import annotations

import os

from flask import Flask, Response

BODY = b'{"type":"Feature","id":"%b"}' % (b"x" * (int(os.environ["BENCH_BYTES"]) - 26))

application = Flask(__name__)


@application.get("/")
def constant() -> Response:
    """Return the constant response."""
    return Response(BODY, content_type="application/geo+json")


@application.get("/health/ready")
def ready() -> str:
    """Return a response once the server is ready."""
    return "yes"

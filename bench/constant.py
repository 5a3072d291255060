"""What Flask alone can do: a constant answer of the size given in BENCH_BYTES, under the server's own settings.

It is asked twice: as gunicorn's own worker serves it, which is the limit, and as the server's worker does.
"""

from __future__ import annotations

import os

from flask import Flask, Response

BODY = b'{"type":"Feature","id":"%b"}' % (b"x" * (int(os.environ["BENCH_BYTES"]) - 26))

application = Flask(__name__)


@application.get("/")
def constant() -> Response:
    """Say always the same."""
    return Response(BODY, content_type="application/geo+json")


@application.get("/health/ready")
def ready() -> str:
    """Say that it serves."""
    return "yes"

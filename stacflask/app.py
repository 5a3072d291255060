"""``create_app``: the only room that knows every other."""

from __future__ import annotations

import logging
import os
import re
import time
import uuid
from typing import TYPE_CHECKING
from urllib.parse import quote

from flask import Flask, Response, abort, g, request
from flask_compress import Compress
from flask_cors import CORS

from stacflask import __version__, current, logs
from stacflask.api import (
    collections,
    download,
    errors,
    extensions,
    items,
    landing,
    openapi,
    search,
    strict,
    transactions,
)
from stacflask.api.blueprints import Api
from stacflask.catalog.database import Database, create_engine
from stacflask.catalog.documents import Managed
from stacflask.catalog.reading import Catalog
from stacflask.catalog.storage import PluginStorage
from stacflask.catalog.writing import Writer
from stacflask.gate import Gate
from stacflask.loader import load_plugins
from stacflask.values import Services

if TYPE_CHECKING:
    import pluggy

    from stacflask.settings import Settings

log = logging.getLogger(__name__)

EXPOSED = [
    *("ETag", "Location", "Link", "Content-Range", "Accept-Ranges", "Content-Disposition", "Content-Length"),
    *("Repr-Digest", "Retry-After", "RateLimit", "RateLimit-Policy", "WWW-Authenticate", "X-Request-ID"),
]
ALLOWED = ["Authorization", "Content-Type", "If-Match", "If-None-Match", "If-Range", "Range", "Prefer", "X-Request-ID"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def create_app(settings: Settings, plugins: pluggy.PluginManager | None = None) -> Flask:
    """Build the application. ``plugins``: those already loaded, else the ones that the settings name.

    Raises SettingError, and whatever a plugin raises at its start: a program that is set up wrongly does not serve.
    """
    logs.configure(settings)
    manager = load_plugins(settings.plugins, os.environ) if plugins is None else plugins
    engine = create_engine(
        settings.database_url, pool_size=settings.pool_size, statement_timeout=settings.statement_timeout
    )
    catalog = Catalog(Database(engine))
    manager.hook.startup(services=Services(storage=PluginStorage(catalog.database)))
    app = Flask("stacflask", static_folder=None, template_folder="api/templates")
    app.extensions[current.EXTENSION] = current.House(
        settings, Gate(manager), catalog, Writer(catalog, Managed(settings.managed_hrefs))
    )
    _configure(app, settings)
    _add_routes(app, manager)
    return app


def _configure(app: Flask, settings: Settings) -> None:
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_body,
        API_TITLE=settings.title,
        API_VERSION=__version__,
        OPENAPI_VERSION="3.0.3",
        COMPRESS_REGISTER=False,
        COMPRESS_MIMETYPES=["application/json", "application/geo+json", landing.OPENAPI.partition(";")[0], "text/html"],
        COMPRESS_ALGORITHM=["gzip"],
        COMPRESS_LEVEL=4,
        # Weighed already, and without compressing first.
        COMPRESS_EVALUATE_CONDITIONAL_REQUEST=False,
    )
    # A path with a doubled or trailing slash is answered as it stands: a redirect would lose a POST.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters["key"] = download.Key
    app.before_request(_begin)
    compress = Compress(app)
    app.after_request(lambda response: _finish(response, compress))
    CORS(
        app,
        origins=list(settings.cors_origins),
        allow_headers=ALLOWED,
        expose_headers=EXPOSED,
        methods=METHODS,
        max_age=3600,
    )


def _add_routes(app: Flask, manager: pluggy.PluginManager) -> None:
    api = Api(app, spec_kwargs={"info": {"description": DESCRIPTION}})
    for name, schema in openapi.SCHEMAS.items():
        api.spec.components.schema(name, schema)
    house: current.House = app.extensions[current.EXTENSION]
    blueprints = [landing.bp, collections.bp, items.bp, search.bp, download.bp]
    for blueprint in [*blueprints, *([transactions.bp] if house.gate.writable else [])]:
        api.register_blueprint(blueprint)
    extensions.register(app, api.spec, house.gate.challenges(), [e for more in manager.hook.extend_api() for e in more])
    if house.settings.strict_parameters:
        app.before_request(strict.checker(api.spec))
    # Last, so that it takes precedence over flask-smorest's own.
    errors.register(app)


DESCRIPTION = "Search a catalogue of assets (STAC API 1.0.0), and download them (STAC API Download 1.0.0)."


def _begin() -> None:
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    g.began = time.perf_counter()
    # PostgreSQL's text cannot hold a NUL, so nothing is called so.
    if "\0" in request.path or "%00" in request.query_string.decode("latin-1"):
        abort(400, "NUL is not a character of any name here.")
    if not request.host:
        abort(400, "Host: expected a name or address, and perhaps a port.")


def _finish(response: Response, compress: Compress) -> Response:
    if not response.direct_passthrough:
        response = compress.after_request(response)
    response.headers["X-Request-ID"] = g.request_id
    # What is seen depends on who asks: no shared cache may hand one's answer to another.
    response.vary.add("Authorization")
    response.headers.setdefault("Cache-Control", "private, no-cache")
    log.info(
        "%s %s %s",
        request.method,
        quote(request.path),
        response.status_code,
        extra={
            "status": response.status_code,
            "principal": getattr(g.get("principal"), "id", None),
            "ms": round((time.perf_counter() - g.began) * 1000, 1),
        },
    )
    return response

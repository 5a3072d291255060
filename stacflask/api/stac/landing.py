"""The landing page, the conformance declaration, the OpenAPI document and health checks."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import orjson
import swagger_ui_bundle
from apispec import APISpec
from flask import Response, current_app, render_template, send_from_directory
from flask_smorest import current_api

from stacflask import current
from stacflask.api.documents import authentication_extension, stac_links
from stacflask.api.documents.stac_links import link
from stacflask.api.http import public_url, responses
from stacflask.api.http.media_types import GEOJSON, HTML, OPENAPI
from stacflask.api.http.openapi import IF_NONE_MATCH, NOT_MODIFIED, TEXT, response_object
from stacflask.api.parameters.blueprints import Blueprint
from stacflask.api.stac import conformance

SWAGGER = max((Path(swagger_ui_bundle.__file__).parent / "vendor").glob("swagger-ui-*"))

FUNCTIONS = "http://www.opengis.net/def/rel/ogc/1.0/functions"
CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'self'; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""Other sites cannot frame the page, because a hidden frame could make users click on actions of their session."""

bp = Blueprint("landing", __name__, description="Landing page, conformance, API documentation, health")


@bp.route("/")
@bp.describes(
    412, parameters=[IF_NONE_MATCH], _200=response_object("The landing page.", "LandingPage"), _304=NOT_MODIFIED
)
def landing() -> Response:
    """Return the landing page."""
    settings = current.settings()
    titles = current.catalog().titles(current.restriction())
    schemes = authentication_extension.deployment_schemes()
    page = {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "id": settings.id,
        "title": settings.title,
        "description": settings.description,
        "conformsTo": _classes(),
        "links": [*_links(), *_children(titles)],
    }
    return responses.document(page if schemes is None else schemes.in_catalog(page))


def _classes() -> list[str]:
    return conformance.classes(writable=current.gate().writable)


def _links() -> list[stac_links.Link]:
    base = public_url.base_url()
    return [
        stac_links.root_link(),
        link("self", base, title="This document"),
        link("conformance", f"{base}/conformance", title="Conformance classes"),
        link("data", f"{base}/collections", title="Collections"),
        link("search", f"{base}/search", GEOJSON, method="GET", title="Search for items"),
        link("search", f"{base}/search", GEOJSON, method="POST", title="Search for items"),
        link("children", f"{base}/children", title="Collections as children"),
        *stac_links.description_links(base),
        link(FUNCTIONS, f"{base}/functions", title="Functions of filters"),
        link("service-desc", f"{base}/api", OPENAPI, title="OpenAPI document"),
        link("service-doc", f"{base}/api.html", "text/html", title="API documentation"),
    ]


def _children(titles: Sequence[tuple[str, str | None]]) -> list[stac_links.Link]:
    """Return child links to all collections (STAC API Browseable)."""
    base = f"{public_url.base_url()}/collections/"
    return [link("child", base + public_url.segment(name), title=title or name) for name, title in titles]


@bp.route("/conformance")
@bp.describes(
    412, parameters=[IF_NONE_MATCH], _200=response_object("The conformance classes.", "Conformance"), _304=NOT_MODIFIED
)
def conforms() -> Response:
    """List the conformance classes of this API."""
    return responses.document({"conformsTo": _classes()})


@bp.route("/health")
@bp.describes(_200=response_object("The process is running.", "Health"))
def live() -> Response:
    """Report that the process is running. Needs no credentials and calls no plugin."""
    return responses.reply(b'{"status":"ok"}', headers={"Cache-Control": "no-store"})


@bp.route("/health/ready")
@bp.describes(_200=response_object("The database is available and migrated.", "Health"))
def ready() -> Response:
    """Report that requests can be served: the database is available and migrated. Needs no credentials."""
    current.catalog().check()
    return responses.reply(b'{"status":"ok"}', headers={"Cache-Control": "no-store"})


@bp.route("/api")
@bp.describes(
    412,
    parameters=[IF_NONE_MATCH],
    _200=response_object("The OpenAPI 3.0 document.", "Description", OPENAPI),
    _304=NOT_MODIFIED,
)
def service_desc() -> Response:
    """Return the OpenAPI document of this API."""
    return responses.tagged(responses.reply(_description(current_api.spec, public_url.base_url()), OPENAPI))


@lru_cache(maxsize=16)
def _description(spec: APISpec, base: str) -> bytes:
    return orjson.dumps({**spec.to_dict(), "servers": [{"url": base}]})


@bp.route("/api.html")
@bp.describes(_200=response_object("The HTML page.", TEXT, HTML))
def service_doc() -> Response:
    """Return the OpenAPI document as an HTML page, which loads files only from this server."""
    # If a plugin serves /whoami, the page shows the user, and links to log in or out.
    show_user = "GET /whoami" in current_app.view_functions
    page = render_template("api.html", title=current.settings().title, show_user=show_user)
    response = responses.reply(page.encode(), f"{HTML}; charset=utf-8")
    response.headers["Content-Security-Policy"] = CONTENT_POLICY
    return response


@bp.route("/api/static/<path:name>")
@bp.describes(404, _200=response_object("The file.", {**TEXT, "format": "binary"}, "*/*"))
def static(name: str) -> Response:
    """Return a file of the HTML page: of Swagger UI, or the script that starts it."""
    folder = Path(current_app.root_path) / "api" / "static" if name == "start.js" else SWAGGER
    return responses.conditional(send_from_directory(folder, name, conditional=False, max_age=3600))

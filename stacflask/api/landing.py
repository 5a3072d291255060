"""The landing page, the conformance declaration, the API's description and the health of the process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import swagger_ui_bundle
from flask import Flask, Response, current_app, render_template, send_from_directory

from stacflask import current
from stacflask.api import address, conformance, render
from stacflask.api.blueprints import Blueprint
from stacflask.api.openapi import answer
from stacflask.api.render import GEOJSON, link

OPENAPI = "application/vnd.oai.openapi+json;version=3.0"
SWAGGER = sorted((Path(swagger_ui_bundle.__file__).parent / "vendor").glob("swagger-ui-*"))[-1]

bp = Blueprint("landing", __name__, description="What this API is and can do")


@bp.route("/")
@bp.describes(_200=answer("The catalogue's root.", "LandingPage"))
def landing() -> Response:
    """Show what there is."""
    settings = current.settings()
    children = current.catalog().titles(current.restriction())
    return render.document(
        {
            "type": "Catalog",
            "stac_version": "1.1.0",
            "id": settings.id,
            "title": settings.title,
            "description": settings.description,
            "conformsTo": _classes(),
            "links": [*_links(), *(_child(collection, title) for collection, title in children)],
        }
    )


def _classes() -> list[str]:
    return conformance.classes(writable=current.gate().writable)


def _links() -> list[render.Link]:
    base = address.base_url()
    return [
        render.root_link(),
        link("self", base, title="This document"),
        link("conformance", f"{base}/conformance", title="Conformance classes"),
        link("data", f"{base}/collections", title="Collections"),
        link("search", f"{base}/search", GEOJSON, method="GET", title="Search for items"),
        link("search", f"{base}/search", GEOJSON, method="POST", title="Search for items"),
        link("service-desc", f"{base}/api", OPENAPI, title="OpenAPI document"),
        link("service-doc", f"{base}/api.html", "text/html", title="API documentation"),
    ]


def _child(collection: str, title: str | None) -> render.Link:
    return link("child", address.collection_url(collection), title=title or collection)


@bp.route("/conformance")
@bp.describes(_200=answer("The classes.", "Conformance"))
def conforms() -> Response:
    """List the conformance classes that this API holds to."""
    return render.document({"conformsTo": _classes()})


@bp.route("/health")
@bp.describes(_200=answer("The process answers.", "Health"))
def live() -> Response:
    """Say that the process lives; needs no credentials and asks nobody."""
    return render.reply(b'{"status":"ok"}', headers={"Cache-Control": "no-store"})


@bp.route("/health/ready")
@bp.describes(_200=answer("Database and migrations are as they should be.", "Health"))
def ready() -> Response:
    """Say whether requests can be served: the database answers and is migrated. Needs no credentials."""
    current.catalog().check()
    return render.reply(b'{"status":"ok"}', headers={"Cache-Control": "no-store"})


def register_description(app: Flask, spec: Any) -> None:
    """Add the OpenAPI document and its HTML, which describe what has been registered by then."""

    @lru_cache(maxsize=16)
    def text(base: str) -> bytes:
        return orjson.dumps({**spec.to_dict(), "servers": [{"url": base}]})

    def service_desc() -> Response:
        return render.tagged(render.reply(text(address.base_url()), OPENAPI))

    app.add_url_rule("/api", "service_desc", service_desc)
    app.add_url_rule("/api.html", "service_doc", service_doc)
    app.add_url_rule("/api/static/<path:name>", "service_doc_static", static)


def service_doc() -> Response:
    """Show the OpenAPI document as a page. All of it comes from this server."""
    page = render_template("api.html", title=current.settings().title, base=address.base_url())
    response = render.reply(page.encode(), "text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = (
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'self'"
    )
    return response


def static(name: str) -> Response:
    """Give the page's parts: those of Swagger UI, and the script that starts it."""
    folder = Path(current_app.root_path) / "api" / "static" if name == "start.js" else SWAGGER
    return send_from_directory(folder, name, max_age=3600)




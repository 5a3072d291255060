"""The OpenAPI document and its HTML page."""

import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from stacflask import Challenge, Endpoint, EndpointResponse, hookimpl
from stacflask.testing import a_collection, an_item
from tests.browser import CHROMIUM, browsing

Client = Any
Operation = tuple[str, str, dict[str, Any]]
PLAIN = {"Accept-Encoding": "identity"}
READ_BY_POST = ("/search", "/aggregate", "/downloads")
EXTENSIONS = {"count", "filter", "filter-lang", "filter-crs", "query", "sortby", "fields", "q"}
SIGNING = {"hrefs", "X-Signed-Asset-Urls"}
METHODS = {"get", "put", "post", "delete", "patch"}


class Plugin:
    """Adds a security scheme and two endpoints."""

    @hookimpl
    def challenge(self) -> list[Challenge]:
        """Return a scheme with a token."""
        return [Challenge('Bearer realm="r"', "token", {"type": "http", "scheme": "bearer"})]

    @hookimpl
    def extend_api(self) -> list[Endpoint]:
        """Add two endpoints."""
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
        return [
            Endpoint("GET", "/own/{ownId}", lambda _: EndpointResponse({}), "Show my own.", schema, statuses=(404,)),
            Endpoint("POST", "/own/{ownId}", lambda _: EndpointResponse({}), "Change my own.", schema, schema, 201),
        ]


@pytest.fixture
def app(build: Callable[..., Flask], consent: Any, store: Any) -> Flask:
    """Return an application with all optional endpoints."""
    from stacflask import Decision

    class Writable:
        @hookimpl
        def authorize_change(self) -> Decision:
            return Decision.allow("test")

    return build(Plugin(), Writable(), consent, store)


@pytest.fixture
def description(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI document."""
    client: Any = app.test_client()
    document: dict[str, Any] = client.get("/api").json
    return document


def operations(description: dict[str, Any]) -> Iterator[Operation]:
    for path, described in description["paths"].items():
        for method, operation in described.items():
            if method in METHODS:
                several = [*described.get("parameters", []), *operation.get("parameters", [])]
                components = description["components"]["parameters"]
                resolved = [components[one["$ref"].rpartition("/")[2]] if "$ref" in one else one for one in several]
                yield method, path, {**operation, "parameters": resolved}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_the_document_has_the_media_type_of_its_version(client: Client) -> None:
    """The document and the link to it have OpenAPI's media type, with the version in the document."""
    response = client.get("/api")
    assert response.content_type == "application/vnd.oai.openapi+json;version=3.0"
    assert response.json["openapi"] == "3.0.3"
    (link,) = [link for link in client.get("/").json["links"] if link["rel"] == "service-desc"]
    assert (link["href"], link["type"]) == ("http://localhost/api", response.content_type)


def test_every_route_is_described(app: Flask, description: dict[str, Any]) -> None:
    """The document has each route and method, and no others."""
    routes = {
        (method.lower(), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {(method, path) for method, path, _ in operations(description)} == routes


def test_every_operation_is_complete(description: dict[str, Any]) -> None:
    """Each operation has a summary, a described tag, a unique id, its path parameters and its errors."""
    names = []
    tags = {tag["name"] for tag in description["tags"]}
    for method, path, operation in operations(description):
        names.append(operation["operationId"])
        assert operation["summary"].endswith("."), path
        assert set(operation["tags"]) <= tags, path
        in_path = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path)), path
        assert all(parameter.get("schema") or parameter["content"] for parameter in operation["parameters"])
        assert ("requestBody" in operation) == (method in ("post", "put", "patch")), (method, path)
        assert "default" not in operation["responses"]
        assert {"400", "401", "500", "503"} <= operation["responses"].keys()
        assert "422" not in operation["responses"]
    assert len(set(names)) == len(names)


def test_every_success_has_a_schema(description: dict[str, Any]) -> None:
    """Each request body and each response body has a schema."""
    for method, path, operation in operations(description):
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        bodies += [
            response for status, response in operation["responses"].items() if status not in ("204", "304", "307")
        ]
        for body in bodies:
            assert body["content"], (method, path)
            for content in body["content"].values():
                assert content["schema"], (method, path)


def test_every_reference_resolves_and_every_component_is_used(description: dict[str, Any]) -> None:
    """Every reference resolves, and every schema and parameter is referred to."""
    components = description["components"]
    defined = {f"#/components/{kind}/{name}" for kind in ("schemas", "parameters") for name in components[kind]}
    assert set(references(description)) == defined


def test_downloads_are_described(description: dict[str, Any]) -> None:
    """Both download operations describe their parameters and all of their responses."""
    for path in (
        "/collections/{collection_id}/items/{item_id}/download/{asset_id}",
        "/collections/{collection_id}/download/{asset_id}",
    ):
        operation = description["paths"][path]["get"]
        assert {"200", "206", "304", "307", "403", "404", "412", "416", "429"} <= operation["responses"].keys()
        assert {"delivery", "Range", "If-Range", "If-None-Match"} <= {one["name"] for one in operation["parameters"]}
        assert "Location" in operation["responses"]["307"]["headers"]


def test_searches_have_the_same_parameters_by_get_and_post(description: dict[str, Any]) -> None:
    """The parameters of GET /search are the members of the body of POST /search."""
    search = description["paths"]["/search"]
    (parameters,) = [
        operation["parameters"]
        for method, path, operation in operations(description)
        if (method, path) == ("get", "/search")
    ]
    names = {parameter["name"] for parameter in parameters} - SIGNING
    assert names == {"bbox", "intersects", "datetime", "ids", "collections", "limit", "token", *EXTENSIONS}
    body = search["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["$ref"].endswith("/SearchBody")
    assert description["components"]["schemas"]["SearchBody"]["properties"].keys() == names


def test_endpoints_of_plugins_are_described(description: dict[str, Any]) -> None:
    """The security schemes and endpoints of plugins are in the document."""
    assert description["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    assert description["security"] == [{}, {"token": []}]
    own = description["paths"]["/own/{ownId}"]
    assert (own["get"]["summary"], own["post"]["tags"]) == ("Show my own.", ["plugins"])
    assert {"200", "404"} <= own["get"]["responses"].keys()
    assert "201" in own["post"]["responses"]


def test_without_plugins_there_are_no_changes_and_no_security(client: Client) -> None:
    """A read-only deployment describes no changes, and one without security schemes no security."""
    description = client.get("/api").json
    assert {method for method, path, _ in operations(description) if not path.endswith(READ_BY_POST)} == {"get"}
    assert "security" not in description
    assert "securitySchemes" not in description["components"]


def test_the_page_loads_nothing_from_other_sites(client: Client) -> None:
    """The page loads only files of this server, and a content security policy forbids others."""
    page = client.get("/api.html")
    assert page.content_type == "text/html; charset=utf-8"
    parts = re.findall(r'(?:src|href|data-description)="([^"]+)"', page.text)
    assert {"api", "api/static/swagger-ui.css", "api/static/start.js"} <= set(parts)
    for part in parts:
        assert "//" not in part
        if not part.startswith("data:"):
            assert client.get(f"/{part}").status_code == 200, part
    assert "<script>" not in page.text
    for rule in ("default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "object-src 'none'"):
        assert rule in page.headers["Content-Security-Policy"]


def test_no_other_files_are_served(client: Client) -> None:
    """No file outside of the page's static folder is served."""
    names = [
        "nosuch",
        "../../__init__.py",
        "..%2f..%2f__init__.py",
        "%2e%2e/package.json",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        ".",
    ]
    for name in names:
        response = client.get(f"/api/static/{name}")
        assert (response.status_code, response.json["code"]) == (404, "NotFound"), name


def test_title_is_escaped(plug: Callable[..., Client]) -> None:
    """HTML in the title is escaped."""
    page = plug(environ={"STACFLASK_TITLE": "<script>alert(1)</script>"}).get("/api.html")
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;" in page.text


def test_the_document_is_valid(description: dict[str, Any]) -> None:
    """The document is valid by the schema of OpenAPI 3.0."""
    import schemathesis

    schema = schemathesis.openapi.from_dict(description)
    schema.validate()


def test_responses_are_valid(app: Flask, publish: Callable[..., None]) -> None:
    """Responses are valid by the schemas in the document."""
    import schemathesis

    publish(an_item())
    description = schemathesis.openapi.from_wsgi("/api", app)
    paths = {"collection_id": "collection", "item_id": "item", "asset_id": "data", "name": "start.js", "ownId": "1"}
    paths["period_name"] = "2024"
    for operation in description.get_all_operations():
        case = operation.ok().Case(
            path_parameters={name: paths[name] for name in re.findall(r"{(\w+)}", operation.ok().path)}
        )
        if case.method == "GET":
            case.call_and_validate(headers=PLAIN)


@pytest.fixture
def page(app: Flask) -> Iterator[str]:
    """Serve the HTML page, and return its URL."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.port}/api.html"
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_page_works_in_a_browser(page: str, description: dict[str, Any]) -> None:
    """A browser without access to other hosts shows every operation and reports no violation of the policy."""
    no_other_hosts = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", no_other_hosts]
    command = [str(CHROMIUM), *flags, "--virtual-time-budget=30000", "--dump-dom", page]
    page_dump = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert page_dump.stdout.count('opblock-summary-path"') == len(list(operations(description)))
    assert "CONSOLE" not in page_dump.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_paths_fit_on_a_narrow_screen(page: str, tmp_path: Path) -> None:
    """On a narrow screen, a short path takes one line and nothing overflows."""
    with browsing(tmp_path) as browser:
        browser.narrow(390)
        browser.go(page)
        browser.until("document.querySelector('[data-path=\"/conformance\"]')")
        height = "document.querySelector('[data-path=\"/conformance\"]').getBoundingClientRect().height"
        assert browser.run(height) == browser.run(height.replace("/conformance", "/"))
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        assert browser.complaints == []


def test_parameters_are_those_of_ogc_features(build: Callable[..., Flask]) -> None:
    """limit, bbox and datetime are described as in OGC 17-069r4 (7.15.2 to 7.15.4), limit as a component."""
    client: Any = build(environ={"STACFLASK_DEFAULT_LIMIT": "7", "STACFLASK_MAX_LIMIT": "70"}).test_client()
    document = client.get("/api").json
    listed = document["paths"]["/collections/{collection_id}/items"]["get"]["parameters"]
    assert {"$ref": "#/components/parameters/limit"} in listed
    limit = document["components"]["parameters"]["limit"]
    assert limit["schema"] == {"type": "integer", "minimum": 1, "maximum": 70, "default": 7}
    named = {"limit": limit, **{one["name"]: one for one in listed if "name" in one}}
    for name in ("limit", "bbox", "datetime"):
        assert (named[name]["in"], named[name]["required"]) == ("query", False)
        assert (named[name]["style"], named[name]["explode"]) == ("form", False)
    box, numbers = named["bbox"]["schema"], {"type": "number"}
    sizes = [{"minItems": 4, "maxItems": 4}, {"minItems": 6, "maxItems": 6}]
    assert (box["type"], box["oneOf"], box["items"]) == ("array", sizes, numbers)
    assert named["datetime"]["schema"]["type"] == "string"


def test_collections_have_an_item_type(edit: Callable[..., Any]) -> None:
    """A collection has itemType (OGC 17-069r4), and stays unchanged if a client sends it back."""
    client = edit()
    created = client.post("/collections", json=a_collection("typed"))
    assert created.json["itemType"] == "feature"
    returned = client.get("/collections/typed")
    assert client.put("/collections/typed", json=returned.json).status_code == 204
    assert client.get("/collections/typed").headers["ETag"] == returned.headers["ETag"]
    own = {**a_collection("own"), "itemType": "record"}
    assert client.post("/collections", json=own).json["itemType"] == "record"
    assert client.get("/collections/own").text.count("itemType") == 1

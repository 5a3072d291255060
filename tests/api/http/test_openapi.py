"""The description of the API, and its page."""

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
    """Wants a key, and adds two addresses."""

    @hookimpl
    def challenge(self) -> list[Challenge]:
        """Ask for a token."""
        return [Challenge('Bearer realm="r"', "token", {"type": "http", "scheme": "bearer"})]

    @hookimpl
    def extend_api(self) -> list[Endpoint]:
        """Add two addresses."""
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
        return [
            Endpoint("GET", "/own/{ownId}", lambda _: EndpointResponse({}), "Show my own.", schema, statuses=(404,)),
            Endpoint("POST", "/own/{ownId}", lambda _: EndpointResponse({}), "Change my own.", schema, schema, 201),
        ]


@pytest.fixture
def app(build: Callable[..., Flask], consent: Any, store: Any) -> Flask:
    """Give an application with all there can be."""
    from stacflask import Decision

    class Leave:
        @hookimpl
        def authorize_change(self) -> Decision:
            return Decision.allow("test")

    return build(Plugin(), Leave(), consent, store)


@pytest.fixture
def description(app: Flask) -> dict[str, Any]:
    """Give the description."""
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


def test_it_is_what_it_says(client: Client) -> None:
    """The description comes under OpenAPI's media type, of the version in it, and is linked as such."""
    answer = client.get("/api")
    assert answer.content_type == "application/vnd.oai.openapi+json;version=3.0"
    assert answer.json["openapi"] == "3.0.3"
    (link,) = [link for link in client.get("/").json["links"] if link["rel"] == "service-desc"]
    assert (link["href"], link["type"]) == ("http://localhost/api", answer.content_type)


def test_every_route_is_described(app: Flask, description: dict[str, Any]) -> None:
    """Each route and method stands in the description, and nothing else does."""
    routes = {
        (method.lower(), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {(method, path) for method, path, _ in operations(description)} == routes


def test_every_operation_is_told(description: dict[str, Any]) -> None:
    """Each has a summary, a tag that is explained, an id of its own, its path's parameters, and its errors."""
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
    """Each body that is sent or received has a schema that says more than that it is JSON."""
    for method, path, operation in operations(description):
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        bodies += [answer for status, answer in operation["responses"].items() if status not in ("204", "304", "307")]
        for body in bodies:
            assert body["content"], (method, path)
            for content in body["content"].values():
                assert content["schema"], (method, path)


def test_references_and_schemas_fit(description: dict[str, Any]) -> None:
    """Every reference leads somewhere, and every schema and parameter is referred to."""
    components = description["components"]
    there = {f"#/components/{kind}/{name}" for kind in ("schemas", "parameters") for name in components[kind]}
    assert set(references(description)) == there


def test_downloads_are_described(description: dict[str, Any]) -> None:
    """Both downloads say what may be asked, and all they may answer."""
    for path in (
        "/collections/{collection_id}/items/{item_id}/download/{asset_id}",
        "/collections/{collection_id}/download/{asset_id}",
    ):
        operation = description["paths"][path]["get"]
        assert {"200", "206", "304", "307", "403", "404", "412", "416", "429"} <= operation["responses"].keys()
        assert {"delivery", "Range", "If-Range", "If-None-Match"} <= {one["name"] for one in operation["parameters"]}
        assert "Location" in operation["responses"]["307"]["headers"]


def test_searches_have_their_words(description: dict[str, Any]) -> None:
    """GET's parameters and POST's members are the same words."""
    search = description["paths"]["/search"]
    (parameters,) = [
        operation["parameters"]
        for method, path, operation in operations(description)
        if (method, path) == ("get", "/search")
    ]
    words = {parameter["name"] for parameter in parameters} - SIGNING
    assert words == {"bbox", "intersects", "datetime", "ids", "collections", "limit", "token", *EXTENSIONS}
    body = search["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["$ref"].endswith("/SearchBody")
    assert description["components"]["schemas"]["SearchBody"]["properties"].keys() == words


def test_plugins_add_theirs(description: dict[str, Any]) -> None:
    """How plugins want to be asked, and the addresses they add, are described like the rest."""
    assert description["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    assert description["security"] == [{}, {"token": []}]
    own = description["paths"]["/own/{ownId}"]
    assert (own["get"]["summary"], own["post"]["tags"]) == ("Show my own.", ["plugins"])
    assert {"200", "404"} <= own["get"]["responses"].keys()
    assert "201" in own["post"]["responses"]


def test_without_plugins_nothing_of_theirs_is_there(client: Client) -> None:
    """A deployment that nobody may change describes no changes, and one without keys no security."""
    description = client.get("/api").json
    assert {method for method, path, _ in operations(description) if not path.endswith(READ_BY_POST)} == {"get"}
    assert "security" not in description
    assert "securitySchemes" not in description["components"]


def test_page_needs_nobody_else(client: Client) -> None:
    """The page loads nothing from elsewhere, each part of it is served, and a policy forbids all else."""
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


def test_page_serves_nothing_else(client: Client) -> None:
    """Beside the page's parts no file is served, by whatever way out of the folder."""
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
        answer = client.get(f"/api/static/{name}")
        assert (answer.status_code, answer.json["code"]) == (404, "NotFound"), name


def test_title_is_escaped(plug: Callable[..., Client]) -> None:
    """A title with marks in it is shown, not run."""
    page = plug(environ={"STACFLASK_TITLE": "<script>alert(1)</script>"}).get("/api.html")
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;" in page.text


def test_it_is_valid(description: dict[str, Any]) -> None:
    """It follows OpenAPI 3.0's own schema."""
    import schemathesis

    schema = schemathesis.openapi.from_dict(description)
    schema.validate()


def test_answers_are_as_described(app: Flask, publish: Callable[..., None]) -> None:
    """Real answers are valid against the schemas that the description gives for them."""
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
    """Serve the page of the API; give its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.port}/api.html"
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_page_works_in_a_browser(page: str, description: dict[str, Any]) -> None:
    """A real browser that reaches nobody else shows every operation, and finds nothing that the policy forbids."""
    nobody_else = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", nobody_else]
    command = [str(CHROMIUM), *flags, "--virtual-time-budget=30000", "--dump-dom", page]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert shown.stdout.count('opblock-summary-path"') == len(list(operations(description)))
    assert "CONSOLE" not in shown.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_addresses_can_be_read_on_a_telephone(page: str, tmp_path: Path) -> None:
    """A short address stands on one line of a narrow screen, and nothing sticks out of it."""
    with browsing(tmp_path) as browser:
        browser.narrow(390)
        browser.go(page)
        browser.until("document.querySelector('[data-path=\"/conformance\"]')")
        height = "document.querySelector('[data-path=\"/conformance\"]').getBoundingClientRect().height"
        assert browser.run(height) == browser.run(height.replace("/conformance", "/"))
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        assert browser.complaints == []


def test_parameters_are_those_of_ogc_features(build: Callable[..., Flask]) -> None:
    """limit, bbox and datetime are described as OGC 17-069r4 (7.15.2 to 7.15.4) has them, limit as a component."""
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
    """A collection says that its items are features, as OGC 17-069r4 has it, and is unchanged if it is sent back."""
    client = edit()
    made = client.post("/collections", json=a_collection("typed"))
    assert made.json["itemType"] == "feature"
    shown = client.get("/collections/typed")
    assert client.put("/collections/typed", json=shown.json).status_code == 204
    assert client.get("/collections/typed").headers["ETag"] == shown.headers["ETag"]
    own = {**a_collection("own"), "itemType": "record"}
    assert client.post("/collections", json=own).json["itemType"] == "record"
    assert client.get("/collections/own").text.count("itemType") == 1

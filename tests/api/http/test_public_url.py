"""The public base URL of every link, Location, server and ``$id``."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
Client = Any
PROXY = {"STACFLASK_TRUSTED_PROXIES": "127.0.0.0/8, 10.0.0.0/8, ::1"}


@pytest.fixture(autouse=True)
def _catalogue(publish: Publish) -> None:
    publish(*[a_collection(name) for name in ("one", "two")], *[an_item(f"i{n}", "one") for n in range(3)])


def urls(value: Any) -> Iterator[str]:
    """Return every URL in a JSON document."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("href", "url", "$id") and isinstance(inner, str):
                yield inner
            yield from urls(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from urls(inner)


PATHS = [
    *("/", "/api", "/collections?limit=1", "/collections/one", "/collections/one/items?limit=1"),
    *("/collections/one/items/i0", "/search?limit=1"),
]


def assert_all_begin_with(client: Client, base: str, **request: Any) -> None:
    for path in PATHS:
        found = list(urls(client.get(path, **request).json))
        assert found, path
        assert {url for url in found if not (url + "/").startswith(f"{base}/")} == set(), path
    posted = client.post("/search", json={"limit": 1}, **request).json
    assert all((url + "/").startswith(f"{base}/") for url in urls(posted))
    created = client.post("/collections", json=a_collection("three"), **request)
    assert created.headers["Location"] == f"{base}/collections/three"
    created = client.post("/collections/three/items", json=an_item("i", "three"), **request)
    assert created.headers["Location"] == f"{base}/collections/three/items/i"


def test_the_setting_determines_the_public_url(edit: Callable[..., Client]) -> None:
    """If the public URL is set, every URL begins with it and its path, for all requests."""
    client = edit(STACFLASK_PUBLIC_URL="https://stac.example.org/a/b/", **PROXY)
    assert_all_begin_with(client, "https://stac.example.org/a/b", headers={"X-Forwarded-Host": "evil.example.org"})


def test_without_a_setting_the_url_is_that_of_the_request(edit: Callable[..., Client]) -> None:
    """Without a setting, the public URL is the URL that the request was sent to."""
    assert_all_begin_with(edit(), "http://stac.test:8080", base_url="http://stac.test:8080")


def test_the_script_name_is_part_of_the_url(edit: Callable[..., Client]) -> None:
    """If a WSGI server mounts the application below a path, URLs contain that path."""
    assert_all_begin_with(edit(), "http://localhost/pre%20fix", base_url="http://localhost/pre fix")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "stac.example.org:8443", "X-Forwarded-Prefix": "/a/b/"},
        {
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "stac.example.org",
            "X-Forwarded-Port": "8443",
            "X-Forwarded-Prefix": "/a/b",
        },
        {
            "X-Forwarded-Proto": "https",
            "Host": "stac.example.org",
            "X-Forwarded-Port": "8443",
            "X-Forwarded-Prefix": "/a/b",
        },
        {"Forwarded": 'for=192.0.2.1;proto=https;host="stac.example.org:8443"', "X-Forwarded-Prefix": "/a/b"},
        {
            "Forwarded": 'For="[2001:db8::1]:4711"; Proto=https ;Host="stac.example.org:8443"',
            "X-Forwarded-Prefix": "/a/b",
        },
    ],
)
def test_urls_follow_the_fields_of_a_trusted_proxy(edit: Callable[..., Client], headers: dict[str, str]) -> None:
    """Every URL begins with the scheme, host, port and prefix that a trusted proxy sends."""
    assert_all_begin_with(edit(**PROXY), "https://stac.example.org:8443/a/b", headers=headers)


PROXY_FIELDS = [
    ({"X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.org", "X-Forwarded-Port": "443"}, "https://a.org"),
    ({"X-Forwarded-Proto": "http", "X-Forwarded-Host": "a.org", "X-Forwarded-Port": "80"}, "http://a.org"),
    ({"X-Forwarded-Host": "[::1]:8000"}, "http://[::1]:8000"),
    ({"X-Forwarded-Host": "[2001:db8::1]", "X-Forwarded-Port": "8000"}, "http://[2001:db8::1]:8000"),
    # Malformed values are ignored.
    ({"X-Forwarded-Proto": "javascript"}, "http://localhost"),
    ({"X-Forwarded-Host": "a.org/path"}, "http://localhost"),
    ({"X-Forwarded-Host": 'a.org"><script>'}, "http://localhost"),
    ({"X-Forwarded-Host": "user@a.org"}, "http://localhost"),
    ({"X-Forwarded-Port": "80a"}, "http://localhost"),
    ({"X-Forwarded-Prefix": "//evil.org"}, "http://localhost"),
    ({"X-Forwarded-Prefix": "no-slash"}, "http://localhost"),
    ({"X-Forwarded-Prefix": '/"'}, "http://localhost"),
    ({"Forwarded": "nonsense"}, "http://localhost"),
    ({"Forwarded": "host=a.org,"}, "http://localhost"),
    # Each proxy appends its values; the client can have sent the values before those of trusted proxies.
    ({"X-Forwarded-Host": "forged.org, a.org", "X-Forwarded-For": "192.0.2.1"}, "http://a.org"),
    ({"X-Forwarded-Host": "forged.org, a.org"}, "http://a.org"),
    ({"X-Forwarded-Host": "forged.org, a.org, inner", "X-Forwarded-For": "192.0.2.1, 10.0.0.1"}, "http://a.org"),
    ({"X-Forwarded-Host": "a.org", "X-Forwarded-For": "192.0.2.1, 10.0.0.1, 10.0.0.2"}, "http://a.org"),
    ({"Forwarded": "for=192.0.2.9;host=forged.org, for=192.0.2.1;host=a.org"}, "http://a.org"),
    ({"Forwarded": "host=forged.org, for=192.0.2.1;host=a.org, for=10.0.0.1;host=inner"}, "http://a.org"),
    ({"Forwarded": 'host=forged.org, for=_hidden;host=a.org, for="10.0.0.1:80";host=inner'}, "http://a.org"),
]


def test_the_outermost_trusted_proxy_determines_the_url(plug: Callable[..., Client]) -> None:
    """With ports, chains of proxies, forged and malformed fields, the URL is that of the outermost trusted proxy."""
    client = plug(environ=PROXY)
    for headers, base in PROXY_FIELDS:
        assert client.get("/conformance", headers=headers).status_code == 200
        assert client.get("/", headers=headers).json["links"][0]["href"] == base, headers


@pytest.mark.parametrize("environ", [{}, {"STACFLASK_TRUSTED_PROXIES": "10.0.0.0/8"}])
def test_fields_of_untrusted_clients_are_ignored(plug: Callable[..., Client], environ: dict[str, str]) -> None:
    """Forwarded fields of clients that are not trusted proxies have no effect."""
    client = plug(environ=environ)
    for headers, _ in PROXY_FIELDS:
        assert client.get("/", headers=headers).json["links"][0]["href"] == "http://localhost"


@pytest.mark.parametrize("host", ["a b", 'a"b', "a/b", "a\\b", "ä", "<a>", "a:port", "[::1", "a:99999"])
def test_an_invalid_host_is_400(client: Client, host: str) -> None:
    """An invalid Host is 400 with a code and a description."""
    response = client.get("/", headers={"Host": host})
    assert (response.status_code, response.json["code"]) == (400, "BadRequest")


def test_links_can_be_followed(edit: Callable[..., Client]) -> None:
    """Every link with the method GET leads to a response with status 200."""
    client = edit()
    for path in PATHS:
        document = client.get(path).json
        for link in document.get("links", []):
            if link.get("method", "GET") == "GET":
                assert client.get(link["href"]).status_code == 200, link


def test_a_trailing_slash_needs_no_redirect(client: Client) -> None:
    """A path with a trailing slash works without a redirect, which would lose the body of a POST."""
    assert client.get("/search/").status_code == 200
    assert client.post("/search/", json={}).status_code == 200

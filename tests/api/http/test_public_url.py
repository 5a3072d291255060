"""The public address: one place from which every link, Location, server and ``$id`` comes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
Client = Any
PROXY = {"STACFLASK_TRUSTED_PROXIES": "127.0.0.0/8, 10.0.0.0/8, ::1"}


@pytest.fixture(autouse=True)
def _there(publish: Publish) -> None:
    publish(*[a_collection(name) for name in ("one", "two")], *[an_item(f"i{n}", "one") for n in range(3)])


def addresses(value: Any) -> Iterator[str]:
    """Give every address of this server in a JSON document."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("href", "url", "$id") and isinstance(inner, str):
                yield inner
            yield from addresses(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from addresses(inner)


PATHS = [
    *("/", "/api", "/collections?limit=1", "/collections/one", "/collections/one/items?limit=1"),
    *("/collections/one/items/i0", "/search?limit=1"),
]


def assert_all_begin_with(client: Client, base: str, **request: Any) -> None:
    for path in PATHS:
        found = list(addresses(client.get(path, **request).json))
        assert found, path
        assert {address for address in found if not (address + "/").startswith(f"{base}/")} == set(), path
    posted = client.post("/search", json={"limit": 1}, **request).json
    assert all((address + "/").startswith(f"{base}/") for address in addresses(posted))
    made = client.post("/collections", json=a_collection("three"), **request)
    assert made.headers["Location"] == f"{base}/collections/three"
    made = client.post("/collections/three/items", json=an_item("i", "three"), **request)
    assert made.headers["Location"] == f"{base}/collections/three/items/i"


def test_public_address_is_the_setting(edit: Callable[..., Client]) -> None:
    """Where a public address is set, every address begins with it, path included, whatever the request says."""
    client = edit(STACFLASK_PUBLIC_URL="https://stac.example.org/a/b/", **PROXY)
    assert_all_begin_with(client, "https://stac.example.org/a/b", headers={"X-Forwarded-Host": "evil.example.org"})


def test_address_is_that_of_the_request(edit: Callable[..., Client]) -> None:
    """Without a setting, it is what the request was sent to."""
    assert_all_begin_with(edit(), "http://stac.test:8080", base_url="http://stac.test:8080")


def test_prefix_of_the_server(edit: Callable[..., Client]) -> None:
    """A WSGI server that mounts the application below a path is taken at its word."""
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
def test_trusted_proxies_are_believed(edit: Callable[..., Client], headers: dict[str, str]) -> None:
    """What a trusted proxy says of the address it was asked under stands in every address."""
    assert_all_begin_with(edit(**PROXY), "https://stac.example.org:8443/a/b", headers=headers)


TOLD = [
    ({"X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.org", "X-Forwarded-Port": "443"}, "https://a.org"),
    ({"X-Forwarded-Proto": "http", "X-Forwarded-Host": "a.org", "X-Forwarded-Port": "80"}, "http://a.org"),
    ({"X-Forwarded-Host": "[::1]:8000"}, "http://[::1]:8000"),
    ({"X-Forwarded-Host": "[2001:db8::1]", "X-Forwarded-Port": "8000"}, "http://[2001:db8::1]:8000"),
    # What is not well formed is as if it had not been said.
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
    # Each proxy adds its words at the end; those before ours may be the client's own.
    ({"X-Forwarded-Host": "forged.org, a.org", "X-Forwarded-For": "192.0.2.1"}, "http://a.org"),
    ({"X-Forwarded-Host": "forged.org, a.org"}, "http://a.org"),
    ({"X-Forwarded-Host": "forged.org, a.org, inner", "X-Forwarded-For": "192.0.2.1, 10.0.0.1"}, "http://a.org"),
    ({"X-Forwarded-Host": "a.org", "X-Forwarded-For": "192.0.2.1, 10.0.0.1, 10.0.0.2"}, "http://a.org"),
    ({"Forwarded": "for=192.0.2.9;host=forged.org, for=192.0.2.1;host=a.org"}, "http://a.org"),
    ({"Forwarded": "host=forged.org, for=192.0.2.1;host=a.org, for=10.0.0.1;host=inner"}, "http://a.org"),
    ({"Forwarded": 'host=forged.org, for=_hidden;host=a.org, for="10.0.0.1:80";host=inner'}, "http://a.org"),
]


def test_what_proxies_say(plug: Callable[..., Client]) -> None:
    """Ports, several proxies in a row, forged and broken fields: the address is that of the outermost trusted proxy."""
    client = plug(environ=PROXY)
    for headers, base in TOLD:
        assert client.get("/conformance", headers=headers).status_code == 200
        assert client.get("/", headers=headers).json["links"][0]["href"] == base, headers


@pytest.mark.parametrize("environ", [{}, {"STACFLASK_TRUSTED_PROXIES": "10.0.0.0/8"}])
def test_others_are_not_believed(plug: Callable[..., Client], environ: dict[str, str]) -> None:
    """From anybody else, such fields change nothing."""
    client = plug(environ=environ)
    for headers, _ in TOLD:
        assert client.get("/", headers=headers).json["links"][0]["href"] == "http://localhost"


@pytest.mark.parametrize("host", ["a b", 'a"b', "a/b", "a\\b", "ä", "<a>", "a:port", "[::1", "a:99999"])
def test_impossible_hosts(client: Client, host: str) -> None:
    """A Host that is none is 400 in the usual form, and never stands in an answer."""
    answer = client.get("/", headers={"Host": host})
    assert (answer.status_code, answer.json["code"]) == (400, "BadRequest")


def test_links_lead_back(edit: Callable[..., Client]) -> None:
    """Every link of this server that says GET, followed as it is, is answered."""
    client = edit()
    for path in PATHS:
        document = client.get(path).json
        for link in document.get("links", []):
            if link.get("method", "GET") == "GET":
                assert client.get(link["href"]).status_code == 200, link


def test_slash_at_the_end(client: Client) -> None:
    """A path with a slash at its end is answered as it stands, a POST too, without a redirect that would lose it."""
    assert client.get("/search/").status_code == 200
    assert client.post("/search/", json={}).status_code == 200

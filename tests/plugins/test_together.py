"""The policy plugins together, over HTTP: the responses from the first denial to the last download."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from plugins.api_keys import ApiKeys
from plugins.collection_groups import CollectionGroups
from plugins.licence import Licences
from plugins.quota import Quota
from stacflask import Decision, Location, Redirect, Services, hookimpl
from stacflask.testing import Plug, an_item

KEY = "sfk_00000001_member-of-the-test"
BEARER = {"Authorization": f"Bearer {KEY}"}
OPEN = "/collections/landsat/items/scene/download/data"
LICENSED = "/collections/radar/items/scene/download/data"


class FakeStore:
    """Resolves and delivers every asset."""

    @hookimpl
    def resolve(self) -> Location:
        """Return a location in this store."""
        return Location("fake", "data")

    @hookimpl
    def deliver(self) -> Redirect:
        """Redirect the client."""
        return Redirect("https://store.example.org/data", timedelta(minutes=5))


@pytest.fixture
def client(plug: Plug, publish: Callable[..., None]) -> FlaskClient:
    """Publish three collections: one open, one for members who accept a licence, one visible to one group."""
    publish(an_item("scene", "landsat"), an_item("scene", "radar"), an_item("scene", "secret"))
    plugins: list[Any] = [ApiKeys(0), CollectionGroups(cache=0), Licences(cache=0), Quota(0)]
    client = plug(*plugins, FakeStore())
    commands = {command.name: command for plugin in plugins for command in plugin.extend_cli()}
    for line in (
        f"keys create jane --group members --key {KEY}",
        "access grant landsat see *",
        "access grant landsat download *",
        "access grant radar see *",
        "access grant radar download members",
        "access grant secret see insiders",
        "licence add terms 1.0 --title Terms --url https://example.org/terms",
        "licence require radar terms",
        "quota set members --downloads 2 --window 1h",
    ):
        name, *arguments = line.split()
        assert CliRunner().invoke(commands[name], arguments).exit_code == 0, line
    return client


def test_open_data_need_no_credentials(client: FlaskClient) -> None:
    """A client without credentials downloads from the open collection."""
    assert client.get(OPEN).status_code == 307


def test_a_hidden_collection_is_not_found(client: FlaskClient) -> None:
    """A hidden collection is in no list and no search; its URLs, also of downloads, return 404."""
    listed = client.get("/collections").get_json()
    assert [collection["id"] for collection in listed["collections"]] == ["landsat", "radar"]
    found = client.get("/search").get_json()["features"]
    assert sorted(item["collection"] for item in found) == ["landsat", "radar"]
    for path in ("", "/items", "/items/scene", "/items/scene/download/data"):
        assert client.get(f"/collections/secret{path}", headers=BEARER).status_code == 404


def test_from_refusal_to_download(client: FlaskClient) -> None:
    """A client gets 401 with challenges, then 403 with the licence and its URL, then the data."""
    anonymous = client.get(LICENSED)
    assert anonymous.status_code == 401
    assert [value.split()[0] for value in anonymous.headers.getlist("WWW-Authenticate")] == ["Bearer", "Basic"]
    refused = client.get(LICENSED, headers=BEARER)
    assert refused.status_code == 403
    assert refused.get_json()["code"] == "LicenceNotAccepted"
    assert refused.get_json()["licence"] == {"id": "terms", "version": "1.0", "title": "Terms"}
    licence = refused.get_json()["links"][0]["href"].removeprefix("http://localhost")
    version = client.get(licence, headers=BEARER).get_json()["version"]
    assert client.post(f"{licence}/acceptance", json={"version": version}).status_code == 401
    assert client.post(f"{licence}/acceptance", json={"version": "0"}, headers=BEARER).status_code == 400
    assert client.post(f"{licence}/acceptance", json={"version": version}, headers=BEARER).status_code == 200
    assert client.get(licence, headers=BEARER).get_json()["accepted"] is not None
    assert client.get(LICENSED, headers=BEARER).status_code == 307


def test_a_used_up_quota_returns_429(client: FlaskClient) -> None:
    """Each download reports what is left and must not be cached; after the last one, 429 comes with a wait."""
    first = client.get(OPEN, headers=BEARER)
    assert first.headers["RateLimit-Policy"] == '"downloads";q=2;w=3600'
    assert first.headers["Cache-Control"] == "no-store"
    assert client.get("/quota", headers=BEARER).get_json()["quota"]["downloads"]["left"] == 1
    assert client.get(OPEN, headers=BEARER).status_code == 307
    refused = client.get(OPEN, headers=BEARER)
    assert (refused.status_code, refused.get_json()["code"]) == (429, "QuotaExceeded")
    assert 3500 < int(refused.headers["Retry-After"]) <= 3612
    assert refused.headers["RateLimit"].startswith('"downloads";r=0')
    assert refused.get_json()["quota"]["downloads"]["used"] == 2


def test_a_wrong_key_is_never_anonymous(client: FlaskClient) -> None:
    """A request with a wrong key is refused, even if it needs no key."""
    response = client.get(OPEN, headers={"Authorization": f"Bearer {KEY}x"})
    assert (response.status_code, response.get_json()["code"]) == (401, "InvalidCredentials")


def test_the_api_describes_what_plugins_add(client: FlaskClient) -> None:
    """The OpenAPI document has the endpoints and the security schemes of plugins."""
    described = client.get("/api").get_json()
    assert {"/quota", "/licences", "/licences/{licenceId}", "/licences/{licenceId}/acceptance"} <= described[
        "paths"
    ].keys()
    schemes = described["components"]["securitySchemes"]
    assert {scheme["scheme"] for scheme in schemes.values()} == {"bearer", "basic"}


def test_a_read_only_database_returns_503(plug: Plug, publish: Callable[..., None]) -> None:
    """On a standby, a download that must be booked returns 503 with Retry-After."""

    class Booking(FakeStore):
        """Writes to the database for each download."""

        @hookimpl
        def startup(self, services: Services) -> None:
            """Keep the storage."""
            self.storage = services.storage

        @hookimpl
        def authorize(self) -> Decision:
            """Allow every download."""
            return Decision.allow("anybody")

        @hookimpl
        def charge(self) -> None:
            """Write in a read-only transaction."""
            with self.storage.transaction() as statements:
                statements.rows("SET TRANSACTION READ ONLY")
                statements.rows("DELETE FROM plugin_quota_usage")

    publish(an_item("scene", "landsat"))
    response = plug(Booking()).get(OPEN)
    assert (response.status_code, response.get_json()["code"]) == (503, "ReadOnly")
    assert int(response.headers["Retry-After"]) > 0

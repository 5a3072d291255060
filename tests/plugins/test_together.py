"""The policy plugins together, over HTTP: what clients are told, from the first refusal to the last download."""

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


class Shelf:
    """Finds and delivers whatever it is asked for."""

    @hookimpl
    def resolve(self) -> Location:
        """Say that it is here."""
        return Location("shelf", "data")

    @hookimpl
    def deliver(self) -> Redirect:
        """Send the client elsewhere."""
        return Redirect("https://shelf.example.org/data", timedelta(minutes=5))


@pytest.fixture
def client(plug: Plug, publish: Callable[..., None]) -> FlaskClient:
    """Three collections: one open, one for members who accept a licence, one hidden from all but its group."""
    publish(an_item("scene", "landsat"), an_item("scene", "radar"), an_item("scene", "secret"))
    plugins: list[Any] = [ApiKeys(0), CollectionGroups(cache=0), Licences(cache=0), Quota(0)]
    client = plug(*plugins, Shelf())
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


def test_open_data_needs_nobody(client: FlaskClient) -> None:
    """Without credentials the open collection is found and downloaded."""
    assert client.get(OPEN).status_code == 307


def test_what_is_hidden_is_not_found(client: FlaskClient) -> None:
    """A hidden collection is nowhere: not in lists, not in searches, not by address, nor are its downloads."""
    listed = client.get("/collections").get_json()
    assert [collection["id"] for collection in listed["collections"]] == ["landsat", "radar"]
    found = client.get("/search").get_json()["features"]
    assert sorted(item["collection"] for item in found) == ["landsat", "radar"]
    for address in ("", "/items", "/items/scene", "/items/scene/download/data"):
        assert client.get(f"/collections/secret{address}", headers=BEARER).status_code == 404


def test_from_refusal_to_download(client: FlaskClient) -> None:
    """Who asks is told to say who she is, then which licence to accept and where, and then gets the data."""
    unknown = client.get(LICENSED)
    assert unknown.status_code == 401
    assert [value.split()[0] for value in unknown.headers.getlist("WWW-Authenticate")] == ["Bearer", "Basic"]
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


def test_the_end_of_a_quota(client: FlaskClient) -> None:
    """Each download tells what is left, may not be cached, and after the last one comes 429 with a wait."""
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
    """What anybody may do without a key is refused with a wrong one."""
    answer = client.get(OPEN, headers={"Authorization": f"Bearer {KEY}x"})
    assert (answer.status_code, answer.get_json()["code"]) == (401, "InvalidCredentials")


def test_the_api_describes_what_plugins_add(client: FlaskClient) -> None:
    """Their addresses and ways to be asked stand in the OpenAPI document."""
    described = client.get("/api").get_json()
    assert {"/quota", "/licences", "/licences/{licenceId}", "/licences/{licenceId}/acceptance"} <= described[
        "paths"
    ].keys()
    schemes = described["components"]["securitySchemes"]
    assert {scheme["scheme"] for scheme in schemes.values()} == {"bearer", "basic"}


def test_a_database_that_only_reads_is_one_to_wait_for(plug: Plug, publish: Callable[..., None]) -> None:
    """On a standby, whatever books or records is told to come again, and not that something broke."""

    class Booking(Shelf):
        """Books what leaves, on a standby."""

        @hookimpl
        def startup(self, services: Services) -> None:
            """Take the storage."""
            self.storage = services.storage

        @hookimpl
        def authorize(self) -> Decision:
            """Let everybody in."""
            return Decision.allow("anybody")

        @hookimpl
        def charge(self) -> None:
            """Try to write."""
            with self.storage.transaction() as statements:
                statements.rows("SET TRANSACTION READ ONLY")
                statements.rows("DELETE FROM plugin_quota_usage")

    publish(an_item("scene", "landsat"))
    answer = plug(Booking()).get(OPEN)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "ReadOnly")
    assert int(answer.headers["Retry-After"]) > 0

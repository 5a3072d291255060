"""Queryables and sortables describe stored values, as far as the user may see them."""

from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
from flask.testing import FlaskClient as Client

from stacflask import Principal, Request, hookimpl
from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
Plug = Callable[..., Client]
SCHEMA = "application/schema+json"
REL = "http://www.opengis.net/def/rel/ogc/1.0/"


def named(client: Client, path: str = "/queryables", **headers: str) -> dict[str, Any]:
    """Return the properties of a list of names."""
    response = client.get(path, headers=headers)
    assert (response.status_code, response.content_type) == (200, SCHEMA), response.text
    members: dict[str, Any] = response.json["properties"]
    return members


def with_properties(item: str, collection: Any = "collection", **properties: Any) -> dict[str, Any]:
    """Return an item with these properties and its datetime."""
    return an_item(item, collection, properties={"datetime": "2024-06-01T12:00:00Z", **properties})


@pytest.fixture
def client(plug: Plug) -> Client:
    """Return a client of an application without plugins."""
    return plug()


@pytest.fixture
def _scenes(publish: Publish) -> None:
    publish(
        with_properties("a", "one", **{"eo:cloud_cover": 3, "platform": "s2a", "instruments": ["msi"], "gsd": 10}),
        with_properties("b", "one", **{"eo:cloud_cover": 71.5, "platform": "s2b", "own": {"deep": {"flag": True}}}),
        with_properties("c", "two", platform="l8", created="2024-01-01T00:00:00Z", mixed=1),
        with_properties("d", "two", platform="l9", mixed="one", nothing=None),
    )


@pytest.mark.usefixtures("_scenes")
def test_names_describe_stored_values(client: Client) -> None:
    """Types, ranges and enumerations are those of the collection's items; titles are those of the extensions."""
    one = named(client, "/collections/one/queryables")
    assert one["eo:cloud_cover"] == {"title": "Cloud Cover", "type": "number", "minimum": 3, "maximum": 71.5}
    assert one["platform"] == {"title": "Platform", "type": "string", "enum": ["s2a", "s2b"]}
    assert one["instruments"]["items"] == {"type": "string", "enum": ["msi"]}
    assert one["gsd"] == {"title": "Ground Sample Distance", "type": "number", "minimum": 10, "maximum": 10}
    assert one["own.deep.flag"] == {"title": "own.deep.flag", "type": "boolean"}
    assert one["own"]["type"] == one["own.deep"]["type"] == "object"


@pytest.mark.usefixtures("_scenes")
def test_all_names_are_those_of_all_collections(client: Client) -> None:
    """The names of the catalog are those of all collections, with their types and ranges merged."""
    everywhere = named(client)
    assert everywhere["platform"]["enum"] == ["l8", "l9", "s2a", "s2b"]
    assert everywhere["created"] == {"title": "Creation Time", "type": "string", "format": "date-time"}
    assert everywhere["mixed"]["type"] == ["integer", "string"]
    assert "nothing" not in everywhere
    assert "created" not in named(client, "/collections/one/queryables")


@pytest.mark.usefixtures("_scenes")
def test_columns_are_queryables(client: Client) -> None:
    """Id, collection, geometry and times of items are queryables; the geometry has only a format."""
    names = named(client)
    assert {"id", "collection", "datetime", "start_datetime", "end_datetime"} <= names.keys()
    assert names["datetime"] == {"title": "Date and Time", "type": "string", "format": "date-time"}
    assert names["geometry"] == {"title": "Footprint", "format": "geometry-any"}


@pytest.mark.usefixtures("_scenes")
def test_only_scalars_are_sortables(client: Client) -> None:
    """Sortables are the queryables with scalars: no arrays, objects or geometries."""
    sortables = named(client, "/collections/one/sortables")
    assert {"id", "datetime", "eo:cloud_cover", "platform", "own.deep.flag"} <= sortables.keys()
    assert not {"geometry", "instruments", "own"} & sortables.keys()
    assert sortables.keys() < named(client, "/sortables").keys()


@pytest.mark.usefixtures("_scenes")
@pytest.mark.parametrize("path", ["/queryables", "/sortables", "/collections/one/queryables", "/collections-sortables"])
def test_names_are_json_schemas(client: Client, path: str) -> None:
    """Each response is a valid JSON Schema in its dialect, and its $id is the URL of the request."""
    body: Any = client.get(f"{path}?a=b").json
    assert body["$schema"] == "https://json-schema.org/draft/2019-09/schema"
    assert body["$id"] == f"http://localhost{path}?a=b"
    assert body["additionalProperties"] is True
    assert jsonschema_rs.meta.is_valid(body)


@pytest.mark.usefixtures("_scenes")
def test_items_are_valid_against_their_queryables(client: Client) -> None:
    """The properties of each item are valid against the schema."""
    schema: Any = client.get("/queryables").json
    for item in client.get("/search").json["features"]:
        assert jsonschema_rs.is_valid(schema, item["properties"])


def test_collections_have_queryables(client: Client, publish: Publish) -> None:
    """The queryables of collections have a URL of their own, linked from the list of collections."""
    publish(a_collection("one", title="One", keywords=["sea"]))
    names = named(client, "/collections-queryables")
    assert (names["title"]["type"], names["keywords"]["items"]["enum"]) == ("string", ["sea"])
    assert "keywords" not in named(client, "/collections-sortables")


def test_links_to_names(client: Client, publish: Publish) -> None:
    """Landing page, collections and the list of them link to their names, with media types, and the links work."""
    publish(a_collection("ä/b".replace("/", " ")))
    collection = client.get("/collections").json["collections"][0]
    for document, start in [
        (client.get("/").json, "http://localhost/"),
        (client.get("/collections").json, "http://localhost/collections-"),
        (collection, "http://localhost/collections/%C3%A4%20b/"),
    ]:
        for name in ("queryables", "sortables"):
            [link] = [link for link in document["links"] if link["rel"] == REL + name]
            assert (link["href"], link["type"]) == (start + name, SCHEMA)
            assert client.get(link["href"].removeprefix("http://localhost")).json["$id"] == link["href"]


def test_an_unknown_collection_is_404(client: Client) -> None:
    """The names of a collection that does not exist are 404."""
    assert client.get("/collections/nosuch/queryables").status_code == 404
    assert client.get("/collections/nosuch/sortables").status_code == 404


def test_summaries_describe_a_collection_without_items(client: Client, publish: Publish) -> None:
    """Without items, summaries and item_assets determine the names; with items, their values do."""
    publish(
        a_collection(
            summaries={
                "platform": ["s2a", "s2b"],
                "instruments": ["msi"],
                "eo:cloud_cover": {"minimum": 0, "maximum": 80},
                "updated": {"minimum": "2020-01-01T00:00:00Z", "maximum": "2021-01-01T00:00:00Z"},
                "grid:code": {"type": "string", "pattern": "MGRS"},
            },
            item_assets={"B01": {"type": "image/tiff", "proj:epsg": 32632, "roles": ["data"]}},
        )
    )
    names = named(client, "/collections/collection/queryables")
    assert names["platform"]["enum"] == ["s2a", "s2b"]
    assert (names["instruments"]["type"], names["instruments"]["items"]["enum"]) == ("array", ["msi"])
    assert (names["eo:cloud_cover"]["minimum"], names["eo:cloud_cover"]["maximum"]) == (0, 80)
    assert names["updated"]["format"] == "date-time"
    assert names["grid:code"]["type"] == "string"
    assert names["proj:epsg"] == {"title": "EPSG code", "type": "integer"}
    assert not {"type", "roles"} & names.keys()
    publish(with_properties("a", platform="s2c"))
    assert named(client)["platform"]["enum"] == ["s2c"]


def test_names_follow_writes_and_deletions(plug: Plug) -> None:
    """Names change at once with writes over HTTP; a recreated collection has none of the previous names."""

    class Writable:
        @hookimpl
        def authorize_change(self) -> Any:
            from stacflask import Decision

            return Decision.allow("test")

    client = plug(Writable())
    client.post("/collections", json=a_collection())
    path = "/collections/collection/items"
    client.post(path, json=with_properties("a", **{"eo:cloud_cover": 5}))
    assert named(client)["eo:cloud_cover"]["maximum"] == 5
    client.put(f"{path}/a", json=with_properties("a", **{"eo:cloud_cover": 7, "new": 1}))
    assert (named(client)["eo:cloud_cover"]["maximum"], named(client)["new"]["type"]) == (7, "integer")
    client.delete("/collections/collection?force=true")
    client.post("/collections", json=a_collection())
    assert "new" not in named(client)


def test_many_different_strings_are_no_enumeration(client: Client, publish: Publish) -> None:
    """A property with a different string in every item has a type and no enumeration."""
    publish(*(with_properties(f"i{number}", code=f"word {number}", text="x" * 101) for number in range(51)))
    assert named(client)["code"] == {"title": "code", "type": "string"}
    assert named(client)["text"] == {"title": "text", "type": "string"}


# --- Visibility -------------------------------------------------------------------------------------------------------


class Visibility:
    """Restricts items by a CQL2 condition in the header X-Sees."""

    @hookimpl
    def authenticate(self, request: Request) -> Principal:
        """Return a principal whose id is the header."""
        return Principal(request.headers.get("X-Sees", "all"), scheme="test")

    @hookimpl
    def restrict(self, principal: Principal, of: str) -> Any:
        """Hide collection ``two``, or items that are not green."""
        if principal.id == "one" and of == "collections":
            return {"op": "=", "args": [{"property": "id"}, "one"]}
        if principal.id == "green" and of == "items":
            return {"op": "=", "args": [{"property": "colour"}, "green"]}
        return None


@pytest.fixture
def _coloured(publish: Publish) -> None:
    publish(
        with_properties("a", "one", colour="green", n=1),
        with_properties("b", "one", colour="red", n=2),
        with_properties("c", "two", colour="blue", n=3, secret=1),
    )


@pytest.mark.usefixtures("_coloured")
def test_hidden_collections_have_no_names(plug: Plug) -> None:
    """Names and values of a hidden collection are not listed, and its own names are 404."""
    client = plug(Visibility())
    names = named(client, **{"X-Sees": "one"})
    assert (names["colour"]["enum"], names["n"]["maximum"]) == (["green", "red"], 2)
    assert "secret" not in names
    assert named(client)["n"]["maximum"] == 3
    assert client.get("/collections/two/queryables", headers={"X-Sees": "one"}).status_code == 404


@pytest.mark.usefixtures("_coloured")
def test_hidden_items_are_not_described(plug: Plug) -> None:
    """For users who cannot see all items, names describe the visible items, or by a setting no values."""
    names = named(plug(Visibility()), **{"X-Sees": "green"})
    assert (names["colour"]["enum"], names["n"]["maximum"]) == (["green"], 1)
    assert "secret" not in names
    withheld = plug(Visibility(), environ={"STACFLASK_QUERYABLES_SAMPLE": "0"})
    assert not {"colour", "n"} & named(withheld, **{"X-Sees": "green"}).keys()


# --- Strict names -----------------------------------------------------------------------------------------------------

STRICT = {"STACFLASK_STRICT_NAMES": "true"}


@pytest.mark.usefixtures("_scenes")
def test_unknown_names_can_be_an_error(plug: Plug) -> None:
    """By a setting, names that are not listed are 400 in all parameters, with a similar name in the description."""
    client = plug(environ=STRICT)
    assert client.get("/queryables").json["additionalProperties"] is False
    wrong: list[dict[str, Any]] = [
        {"filter": {"op": "=", "args": [{"property": "platfrom"}, "s2a"]}},
        {"query": {"platfrom": {"eq": "s2a"}}},
        {"sortby": [{"field": "platfrom"}]},
    ]
    for body in wrong:
        for path in ("/search", "/aggregate") if "sortby" not in body else ("/search",):
            response: Any = client.post(path, json=body)
            assert (response.status_code, "did you mean 'platform'?" in response.json["description"]) == (400, True), (
                body
            )
    assert client.get("/collections/two/items?filter=gsd=1").status_code == 400
    assert client.get("/collections/one/items?filter=gsd=10&sortby=-properties.platform,id").status_code == 200
    assert client.get("/search?filter=own.deep.flag=true").status_code == 200
    assert client.get("/collections?filter=titel='One'").status_code == 400
    assert client.get("/collections?filter=description LIKE 'The%25'&sortby=license").status_code == 200


@pytest.mark.usefixtures("_scenes")
def test_unknown_names_are_null_by_default(client: Client) -> None:
    """By default, an unknown name is null for all items."""
    response: Any = client.get("/search?filter=platfrom='s2a'")
    assert (response.status_code, response.json["features"]) == (200, [])


@pytest.mark.usefixtures("_coloured")
def test_hidden_names_are_unknown(plug: Plug) -> None:
    """A name that only hidden items have is 400, like a name that no item has."""
    client = plug(Visibility(), environ=STRICT)
    responses = [client.get(f"/search?filter={name}=1", headers={"X-Sees": "one"}) for name in ("secret", "nosuch")]
    hidden, absent = ((response.status_code, response.text.replace("secret", "nosuch")) for response in responses)
    assert hidden == absent
    assert hidden[0] == 400
    assert client.get("/search?filter=secret=1").status_code == 200

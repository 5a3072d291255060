"""The fields extension: what of an item is shown, by the extension's own table."""

from collections.abc import Callable
from typing import Any

import pytest

from stacflask.testing import an_item

Publish = Callable[..., None]
Client = Any
ALWAYS = {"type", "id", "collection", "links"}
USUAL = ALWAYS | {"stac_version", "geometry", "bbox", "assets", "properties"}
ALL = USUAL | {"stac_extensions"}


@pytest.fixture(autouse=True)
def _scene(publish: Publish) -> None:
    properties = {
        "datetime": "2024-06-01T12:00:00Z",
        "eo:cloud_cover": 3,
        "a.b": 1,
        "proj": {"code": "EPSG:4326", "shape": [1, 2]},
    }
    assets = {
        "visual.tif": {"href": "s3://bucket/visual", "title": "V", "roles": ["data"]},
        "meta": {"href": "https://example.org/meta"},
    }
    publish(an_item("scene", properties=properties, assets=assets, stac_extensions=[]))


def post(client: Client, fields: Any) -> dict[str, Any]:
    response = client.post("/search", json={"fields": fields})
    assert response.status_code == 200, response.text
    (feature,) = response.json["features"]
    return dict(feature)


def get(client: Client, fields: str, path: str = "/search") -> dict[str, Any]:
    response = client.get(path, query_string={"fields": fields})
    assert (response.status_code, response.content_type) == (200, "application/geo+json")
    (feature,) = response.json["features"]
    return dict(feature)


def test_not_said_is_all(client: Client) -> None:
    """Without the word, an item is whole."""
    for page in (client.get("/search").json, client.post("/search", json={}).json):
        assert page["features"][0].keys() == ALL


def test_empty_is_the_usual(client: Client) -> None:
    """Said, and empty or null, it means enough to be an item, and of its properties the time alone."""
    nothing: list[Any] = [{}, None, {"include": []}, {"include": None, "exclude": []}, {"exclude": None}]
    for shown in [*(post(client, fields) for fields in nothing), get(client, "")]:
        assert shown.keys() == USUAL
        assert shown["properties"] == {"datetime": "2024-06-01T12:00:00Z"}


def test_include_alone(client: Client) -> None:
    """What is included is all there is, beside what every item has."""
    for names in (["id", "properties.eo:cloud_cover"], ["properties.eo:cloud_cover", "nosuch", "properties.nosuch"]):
        forms = [",".join(names), ",".join(f"+{name}" for name in names), ", ".join(names)]
        for shown in [post(client, {"include": names}), *(get(client, form) for form in forms)]:
            assert shown.keys() == {*ALWAYS, "properties"}
            assert shown["properties"] == {"eo:cloud_cover": 3}
    assert post(client, {"include": ["nosuch"]}).keys() == ALWAYS


def test_exclude_alone_by_post(client: Client) -> None:
    """By POST without an include, all is shown but what is excluded."""
    assert post(client, {"exclude": ["geometry", "bbox"]}).keys() == ALL - {"geometry", "bbox"}
    shown = post(client, {"exclude": ["properties.eo:cloud_cover", "properties.proj.shape", "assets.meta"]})
    assert shown.keys() == ALL
    assert shown["properties"] == {"datetime": "2024-06-01T12:00:00Z", "a.b": 1, "proj": {"code": "EPSG:4326"}}
    assert shown["assets"].keys() == {"visual.tif"}


def test_exclude_beside_an_empty_include(client: Client) -> None:
    """By GET, and by POST where include is null or empty, the usual members are shown but what is excluded."""
    for shown in (
        get(client, "-geometry,-properties.eo:cloud_cover"),
        post(client, {"include": [], "exclude": ["geometry", "properties.eo:cloud_cover"]}),
        post(client, {"include": None, "exclude": ["geometry"]}),
        get(client, "-geometry", "/collections/collection/items"),
    ):
        assert shown.keys() == USUAL - {"geometry"}
        assert shown["properties"] == {"datetime": "2024-06-01T12:00:00Z"}
    assert get(client, "-properties").keys() == USUAL - {"properties"}


def test_both(client: Client) -> None:
    """Of an include and an exclude the longer path decides, and of the same path the include."""
    for shown in (
        get(client, "id,properties,-properties.datetime,assets.visual.tif,-assets.visual.tif.title"),
        post(
            client,
            {
                "include": ["id", "properties", "assets.visual.tif"],
                "exclude": ["properties.datetime", "assets.visual.tif.title"],
            },
        ),
    ):
        assert shown.keys() == ALWAYS | {"properties", "assets"}
        assert shown["properties"].keys() == {"eo:cloud_cover", "a.b", "proj"}
        assert shown["assets"]["visual.tif"].keys() == {"href", "roles"}
    assert post(client, {"include": ["properties.a.b"], "exclude": ["properties"]})["properties"] == {"a.b": 1}
    assert "geometry" in post(client, {"include": ["geometry"], "exclude": ["geometry"]})


def test_some_members_always_come(client: Client) -> None:
    """Type, id, collection and links are there whatever is said, and the links are all of them."""
    whole = client.get("/search").json["features"][0]
    for shown in (get(client, "-id,-type,-collection,-links"), post(client, {"exclude": [*ALWAYS, "links.href"]})):
        assert {name: shown[name] for name in ALWAYS} == {name: whole[name] for name in ALWAYS}


def test_downloads_keep_their_addresses(client: Client) -> None:
    """An asset that is shown has the address it is downloaded at, and the store's is nowhere."""
    whole = client.get("/search").json["features"][0]
    shown = get(client, "assets.visual.tif.href")
    assert shown["assets"] == {"visual.tif": {"href": whole["assets"]["visual.tif"]["href"]}}
    assert "/download/visual.tif" in shown["assets"]["visual.tif"]["href"]
    assert "bucket" not in client.get("/search?fields=assets,properties").text


def test_digits_stay(client: Client, publish: Publish) -> None:
    """What is shown is the text that is kept: numbers have the very digits they came with."""
    publish(an_item("digits", "other", properties={"datetime": "2024-06-01T12:00:00Z", "n": 12345678901234567890}))
    text = client.get("/search?collections=other&fields=properties.n").text
    assert '"properties":{"n":12345678901234567890}' in text


WRONG: list[Any] = [[], "id", 1, {"include": "id"}, {"include": [1]}, {"includes": []}, {"exclude": {}}]


def test_wrong_fields(client: Client) -> None:
    """What is no such object is 400 and named."""
    for fields in [*WRONG, {"include": ["x"] * 1001}]:
        response = client.post("/search", json={"fields": fields})
        assert (response.status_code, response.json["description"][:8]) == (400, "fields: "), fields


def test_null_stays_null(client: Client, publish: Publish) -> None:
    """A datetime that is null is shown as null, with the range beside it."""
    times = {"datetime": None, "start_datetime": "2024-01-01T00:00:00Z", "end_datetime": "2024-02-01T00:00:00Z"}
    publish(an_item("range", "other", properties={**times, "x": 1}))
    (shown,) = client.get("/search?collections=other&fields=").json["features"]
    assert shown["properties"] == times


def test_storage_shown_is_cut_too(plug: Callable[..., Client]) -> None:
    """Where the deployment shows storage addresses, fields cut those like the rest."""
    client = plug(environ={"STACFLASK_SHOW_STORAGE": "true"})
    shown = get(client, "assets.visual.tif.alternate")
    assert shown["assets"] == {"visual.tif": {"alternate": {"s3": {"href": "s3://bucket/visual"}}}}

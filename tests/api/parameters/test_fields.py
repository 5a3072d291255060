"""The fields extension, by the table in its specification."""

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


def test_without_fields_items_are_complete(client: Client) -> None:
    """Without ``fields``, an item has all members."""
    for page in (client.get("/search").json, client.post("/search", json={}).json):
        assert page["features"][0].keys() == ALL


def test_empty_fields_select_the_default_members(client: Client) -> None:
    """Empty or null ``fields`` select a valid item with its times as the only properties."""
    nothing: list[Any] = [{}, None, {"include": []}, {"include": None, "exclude": []}, {"exclude": None}]
    for returned in [*(post(client, fields) for fields in nothing), get(client, "")]:
        assert returned.keys() == USUAL
        assert returned["properties"] == {"datetime": "2024-06-01T12:00:00Z"}


def test_include_alone(client: Client) -> None:
    """With include alone, an item has the included members and those that every item has."""
    for names in (["id", "properties.eo:cloud_cover"], ["properties.eo:cloud_cover", "nosuch", "properties.nosuch"]):
        forms = [",".join(names), ",".join(f"+{name}" for name in names), ", ".join(names)]
        for returned in [post(client, {"include": names}), *(get(client, form) for form in forms)]:
            assert returned.keys() == {*ALWAYS, "properties"}
            assert returned["properties"] == {"eo:cloud_cover": 3}
    assert post(client, {"include": ["nosuch"]}).keys() == ALWAYS


def test_exclude_alone_by_post(client: Client) -> None:
    """By POST without include, an item has all members except the excluded ones."""
    assert post(client, {"exclude": ["geometry", "bbox"]}).keys() == ALL - {"geometry", "bbox"}
    returned = post(client, {"exclude": ["properties.eo:cloud_cover", "properties.proj.shape", "assets.meta"]})
    assert returned.keys() == ALL
    assert returned["properties"] == {"datetime": "2024-06-01T12:00:00Z", "a.b": 1, "proj": {"code": "EPSG:4326"}}
    assert returned["assets"].keys() == {"visual.tif"}


def test_exclude_beside_an_empty_include(client: Client) -> None:
    """By GET, and by POST with an empty include, an item has the default members except the excluded ones."""
    for returned in (
        get(client, "-geometry,-properties.eo:cloud_cover"),
        post(client, {"include": [], "exclude": ["geometry", "properties.eo:cloud_cover"]}),
        post(client, {"include": None, "exclude": ["geometry"]}),
        get(client, "-geometry", "/collections/collection/items"),
    ):
        assert returned.keys() == USUAL - {"geometry"}
        assert returned["properties"] == {"datetime": "2024-06-01T12:00:00Z"}
    assert get(client, "-properties").keys() == USUAL - {"properties"}


def test_include_and_exclude(client: Client) -> None:
    """The longer path of include and exclude takes precedence; of equal paths, include does."""
    for returned in (
        get(client, "id,properties,-properties.datetime,assets.visual.tif,-assets.visual.tif.title"),
        post(
            client,
            {
                "include": ["id", "properties", "assets.visual.tif"],
                "exclude": ["properties.datetime", "assets.visual.tif.title"],
            },
        ),
    ):
        assert returned.keys() == ALWAYS | {"properties", "assets"}
        assert returned["properties"].keys() == {"eo:cloud_cover", "a.b", "proj"}
        assert returned["assets"]["visual.tif"].keys() == {"href", "roles"}
    assert post(client, {"include": ["properties.a.b"], "exclude": ["properties"]})["properties"] == {"a.b": 1}
    assert "geometry" in post(client, {"include": ["geometry"], "exclude": ["geometry"]})


def test_some_members_are_always_included(client: Client) -> None:
    """Type, id, collection and all links are included for any ``fields``."""
    whole = client.get("/search").json["features"][0]
    for returned in (get(client, "-id,-type,-collection,-links"), post(client, {"exclude": [*ALWAYS, "links.href"]})):
        assert {name: returned[name] for name in ALWAYS} == {name: whole[name] for name in ALWAYS}


def test_selected_assets_have_download_urls(client: Client) -> None:
    """A selected asset has its download URL, and the response has no storage href."""
    whole = client.get("/search").json["features"][0]
    returned = get(client, "assets.visual.tif.href")
    assert returned["assets"] == {"visual.tif": {"href": whole["assets"]["visual.tif"]["href"]}}
    assert "/download/visual.tif" in returned["assets"]["visual.tif"]["href"]
    assert "bucket" not in client.get("/search?fields=assets,properties").text


def test_numbers_keep_their_digits(client: Client, publish: Publish) -> None:
    """Numbers in selected members have the digits that were stored."""
    publish(an_item("digits", "other", properties={"datetime": "2024-06-01T12:00:00Z", "n": 12345678901234567890}))
    text = client.get("/search?collections=other&fields=properties.n").text
    assert '"properties":{"n":12345678901234567890}' in text


WRONG: list[Any] = [[], "id", 1, {"include": "id"}, {"include": [1]}, {"includes": []}, {"exclude": {}}]


def test_wrong_fields(client: Client) -> None:
    """Invalid ``fields`` are 400, and the description names the parameter."""
    for fields in [*WRONG, {"include": ["x"] * 1001}]:
        response = client.post("/search", json={"fields": fields})
        assert (response.status_code, response.json["description"][:8]) == (400, "fields: "), fields


def test_null_stays_null(client: Client, publish: Publish) -> None:
    """A datetime that is null is returned as null, with the range."""
    times = {"datetime": None, "start_datetime": "2024-01-01T00:00:00Z", "end_datetime": "2024-02-01T00:00:00Z"}
    publish(an_item("range", "other", properties={**times, "x": 1}))
    (returned,) = client.get("/search?collections=other&fields=").json["features"]
    assert returned["properties"] == times


def test_fields_apply_to_storage_hrefs(plug: Callable[..., Client]) -> None:
    """If a setting shows storage hrefs, ``fields`` can exclude them."""
    client = plug(environ={"STACFLASK_SHOW_STORAGE": "true"})
    returned = get(client, "assets.visual.tif.alternate")
    assert returned["assets"] == {"visual.tif": {"alternate": {"s3": {"href": "s3://bucket/visual"}}}}

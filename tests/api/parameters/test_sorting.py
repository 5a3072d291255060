"""Sorting by any name, by GET and by POST."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest

from stacflask.testing import an_item

Publish = Callable[..., None]
Client = Any
CLOUDS = {"a": 40, "b": 3, "c": None, "d": 40, "e": 90}


@pytest.fixture(autouse=True)
def _scenes(publish: Publish) -> None:
    for name, cover in CLOUDS.items():
        more = {} if cover is None else {"eo:cloud_cover": cover}
        publish(an_item(name, properties={"datetime": "2024-06-01T12:00:00Z", "title": name.upper(), **more}))


NOT_STRINGS: list[Any] = [None, {}, []]


def get(client: Client, sortby: str, path: str = "/search") -> list[str]:
    response = client.get(f"{path}?sortby={sortby}")
    assert response.status_code == 200, response.text
    return [feature["id"] for feature in response.json["features"]]


def post(client: Client, *sortby: dict[str, str]) -> list[str]:
    response = client.post("/search", json={"sortby": list(sortby)})
    assert response.status_code == 200, response.text
    return [feature["id"] for feature in response.json["features"]]


def test_signs_determine_the_direction(client: Client) -> None:
    """A leading - descends; a leading + (escaped or as a space) and no sign ascend. Missing values come last."""
    for sign in ("", "+", "%2B", "%20"):
        assert get(client, f"{sign}eo:cloud_cover,id") == ["b", "a", "d", "e", "c"]
        assert get(client, f"{sign}properties.eo:cloud_cover,-id") == ["b", "d", "a", "e", "c"]
    assert get(client, "-eo:cloud_cover,%2Bid") == ["e", "a", "d", "b", "c"]
    assert get(client, "-title", "/collections/collection/items") == ["e", "d", "c", "b", "a"]


def test_post_takes_fields_with_directions(client: Client) -> None:
    """By POST, each field has a direction, ascending by default."""
    assert post(client, {"field": "eo:cloud_cover"}, {"field": "id", "direction": "asc"}) == ["b", "a", "d", "e", "c"]
    assert post(client, {"field": "properties.eo:cloud_cover", "direction": "desc"}, {"field": "id"}) == [
        *("e", "a", "d", "b", "c")
    ]


def test_pages_keep_the_order(client: Client) -> None:
    """Next links lead through the whole list, with both methods."""
    expected = get(client, "eo:cloud_cover,-id")
    page, found = client.get("/search?sortby=eo:cloud_cover,-id&limit=2").json, []
    while page:
        found += [feature["id"] for feature in page["features"]]
        links = [link for link in page["links"] if link["rel"] == "next"]
        page = client.get(links[0]["href"]).json if links else None
    assert found == expected
    body = {"sortby": [{"field": "eo:cloud_cover"}, {"field": "id", "direction": "desc"}], "limit": 2}
    first = client.post("/search", json=body).json
    (link,) = [link for link in first["links"] if link["rel"] == "next"]
    assert link["body"] == {**body, "token": link["body"]["token"]}
    second = client.post("/search", json={**body, **link["body"]}).json
    assert [feature["id"] for feature in second["features"]] == expected[2:4]


WRONG_TEXTS = ["", "-", "id,", ",", "geometry", "-geometry", "a,b,c,d,e,f,g,h,i"]


def test_names_that_cannot_be_sorted_by_are_400(client: Client) -> None:
    """Missing names, names of geometries and too many names are 400, also for a collection's items."""
    for text in WRONG_TEXTS:
        for path in ("/search", "/collections/collection/items"):
            response = client.get(f"{path}?sortby={text}")
            assert (response.status_code, response.json["description"][:8]) == (400, "sortby: "), text


WRONG: list[Any] = ["id", [], [1], ["id"], [{}], [{"field": 1}], [{"field": "id", "direction": "up"}], {"field": "id"}]


def test_invalid_sortby_is_400(client: Client) -> None:
    """By POST, a value other than an array of fields with directions is 400."""
    for value in [
        *WRONG,
        [{"field": "geometry"}],
        [{"field": ""}],
        *[[{"field": "id", "direction": other}] for other in NOT_STRINGS],
    ]:
        response = client.post("/search", json={"sortby": value})
        assert (response.status_code, response.json["description"][:8]) == (400, "sortby: "), value


def test_a_token_is_bound_to_its_order(client: Client) -> None:
    """A token of one order is 400 with another order."""
    page = client.get("/search?sortby=eo:cloud_cover&limit=1").json
    (link,) = [link for link in page["links"] if link["rel"] == "next"]
    assert "sortby=eo:cloud_cover" in unquote(link["href"])
    response = client.get(unquote(link["href"]).replace("sortby=eo:cloud_cover", "sortby=datetime"))
    assert (response.status_code, response.json["description"][:7]) == (400, "token: ")


MIXED: dict[str, Any] = {"m1": 1, "m2": 2, "mb": "b", "mc": "c", "mf": False, "mt": True, "mo": {}, "mx": None}


def test_types_keep_their_order_in_both_directions(client: Client, publish: Publish) -> None:
    """Descending reverses the values of each type, and neither the order of types nor the place of missing values."""
    publish(*(an_item(n, "mixed", properties={"datetime": "2024-06-01T12:00:00Z", "v": v}) for n, v in MIXED.items()))
    path = "/collections/mixed/items"
    assert get(client, "v,id", path) == ["m1", "m2", "mb", "mc", "mf", "mt", "mo", "mx"]
    assert get(client, "-v,id", path) == ["m2", "m1", "mc", "mb", "mt", "mf", "mo", "mx"]

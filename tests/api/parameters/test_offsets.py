"""Times with an unescaped + in the offset, and with fractions of any length."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
Client = Any

BEFORE, AT, AFTER = "2024-01-01T00:59:59Z", "2024-01-01T01:00:00Z", "2024-01-01T01:00:01Z"


@pytest.fixture(autouse=True)
def _items(publish: Publish) -> None:
    items = [
        an_item(name, properties={"datetime": when, "updated": when})
        for name, when in zip("abc", (BEFORE, AT, AFTER), strict=True)
    ]
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[AT, AT]]}}
    publish(a_collection("later", extent=extent), *items)


def found(response: Any) -> list[str]:
    assert response.status_code == 200, response.text
    return sorted(feature["id"] for feature in response.json["features"])


@pytest.mark.parametrize("plus", ["+", "%20", "%2B", "%2b"])
@pytest.mark.parametrize("path", ["/search", "/collections/collection/items"])
def test_a_plus_in_an_interval(client: Client, path: str, plus: str) -> None:
    """An instant and both ends of an interval can have an offset whose + has become a space."""
    at = f"2024-01-01T02:30:00{plus}01:30"
    assert found(client.get(f"{path}?datetime={at}")) == ["b"]
    assert found(client.get(f"{path}?datetime={at}/..")) == ["b", "c"]
    assert found(client.get(f"{path}?datetime=../{at}")) == ["a", "b"]
    assert found(client.get(f"{path}?datetime={at}/{at}")) == ["b"]
    assert found(client.get(f"{path}?datetime=2024-01-01T02:30:00.000000000000{plus}01:30/{at}")) == ["b"]


def test_a_plus_in_the_time_of_collections_and_aggregations(client: Client) -> None:
    """Collections and aggregations parse times like searches."""
    late = client.get("/collections?datetime=2024-01-01T02:00:00+01:00")
    assert "later" in [collection["id"] for collection in late.json["collections"]]
    aggregated = client.get("/aggregate?aggregations=total_count&datetime=2024-01-01T02:00:00+01:00/..").json
    assert aggregated["aggregations"][0]["value"] == 2


@pytest.mark.parametrize("column", ["datetime", "updated"])
def test_a_plus_in_a_filter(client: Client, column: str) -> None:
    """In a filter, an unescaped + of an offset stays a +, in text and in JSON."""
    at = "2024-01-01T02:00:00+01:00"
    text = f"{column} >= TIMESTAMP('{at}')"
    json = f'{{"op":">=","args":[{{"property":"{column}"}},{{"timestamp":"{at}"}}]}}'
    query = f'{{"{column}":{{"gte":"{at}"}}}}'
    for parameters in (f"filter={quote(text, safe='+')}", f"filter-lang=cql2-json&filter={quote(json, safe='+')}"):
        assert found(client.get(f"/search?{parameters}")) == ["b", "c"]
        assert found(client.get(f"/search?{parameters.replace('+', '%2B')}")) == ["b", "c"]
    assert found(client.get(f"/search?query={quote(query, safe='+')}")) == ["b", "c"]


def test_other_spaces_stay_spaces(client: Client) -> None:
    """A + that is not part of an offset is a space, as in HTML forms."""
    assert found(client.get("/search?filter=id+=+'b'+AND+datetime+=+TIMESTAMP('2024-01-01T02:00:00+01:00')")) == ["b"]
    for wrong in ("2024-01-01+00:00:00Z", "2024-01-01T00:00:00++01:00", "2024-01-01T00:00:00+0100"):
        response = client.get(f"/search?datetime={wrong}")
        assert (response.status_code, response.json["description"][:10]) == (400, "datetime: ")


def test_digits_beyond_microseconds_lose_no_item(client: Client, publish: Publish) -> None:
    """For any number of digits, an item is found by its own time and by intervals that contain it."""
    digits = ["1", "123456", "1234567", "123456999", "1234569999999", "9" * 30]
    publish(
        *[
            an_item(f"d{n}", "fine", properties={"datetime": f"2024-05-01T00:00:00.{text}Z"})
            for n, text in enumerate(digits)
        ]
    )
    for number, text in enumerate(digits):
        moment = f"2024-05-01T00:00:00.{text}Z"
        for interval in (moment, f"{moment}/..", f"../{moment}", f"{moment}/{moment}"):
            assert f"d{number}" in found(client.get(f"/search?collections=fine&datetime={interval}")), interval
            body = {"collections": ["fine"], "datetime": interval}
            assert f"d{number}" in found(client.post("/search", json=body)), interval


def test_a_body_needs_no_escaping(client: Client) -> None:
    """In a body, a time with a space instead of + is 400."""
    response = client.post("/search", json={"datetime": "2024-01-01T00:00:00 01:00"})
    assert (response.status_code, response.json["description"][:9]) == (400, "datetime:")
    assert found(client.post("/search", json={"datetime": "2024-01-01T02:00:00+01:00"})) == ["b"]


@pytest.mark.parametrize("digits", ["1234567", "1234569", "9999999", "123456999999", "123456"])
def test_times_in_other_properties_have_any_number_of_digits(client: Any, publish: Any, digits: str) -> None:
    """A filter finds a time in a string by its own text; digits beyond microseconds are cut off in both."""
    text = f"2024-06-01T12:00:59.{digits}Z"
    publish(an_item(properties={"datetime": "2024-06-01T12:00:00Z", "expires": text}))
    cut = f"2024-06-01T12:00:59.{digits[:6]}Z"
    for spelling in (text, cut, f"{text[:-1]}+00:00"):
        found = client.get("/search", query_string={"filter": f"expires = TIMESTAMP('{spelling}')"}).json
        assert [item["id"] for item in found["features"]] == ["item"], spelling

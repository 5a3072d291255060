"""Times of items: filters and sorting use own values; the parameter datetime finds instants and ranges."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from stacflask import Cql2, hookimpl
from stacflask.testing import an_item

Client = Any
Publish = Callable[..., None]
Plug = Callable[..., Client]
PLACE = {"type": "Point", "coordinates": [11, 48]}

TIMES: dict[str, dict[str, str | None]] = {
    "instant": {"datetime": "2024-11-15T00:00:00Z"},
    "range": {"datetime": None, "start_datetime": "2024-11-01T00:00:00Z", "end_datetime": "2024-12-01T00:00:00Z"},
    "inside": {
        "datetime": "2024-11-20T00:00:00Z",
        "start_datetime": "2024-11-10T00:00:00Z",
        "end_datetime": "2024-11-30T00:00:00Z",
    },
    "after": {
        "datetime": "2025-02-10T00:00:00Z",
        "start_datetime": "2024-10-05T00:00:00Z",
        "end_datetime": "2024-10-05T12:00:00Z",
    },
    "before": {
        "datetime": "2024-01-01T00:00:00Z",
        "start_datetime": "2025-03-01T00:00:00Z",
        "end_datetime": "2025-03-02T00:00:00Z",
    },
    "start": {"datetime": "2025-01-01T00:00:00Z", "start_datetime": "2024-06-01T00:00:00Z"},
    "end": {"datetime": "2024-06-01T00:00:00Z", "end_datetime": "2025-01-01T00:00:00Z", "start_datetime": None},
    "old": {"datetime": None, "start_datetime": "2020-01-01T00:00:00Z", "end_datetime": "2020-01-01T00:00:00Z"},
}
DATED = [name for name, times in TIMES.items() if times["datetime"]]
BY_TIME = sorted(DATED, key=lambda name: TIMES[name]["datetime"] or "")


@pytest.fixture
def client(plug: Plug) -> Client:
    """Return a client of an application without plugins."""
    return plug()


@pytest.fixture(autouse=True)
def _items(publish: Publish) -> None:
    publish(*(an_item(name, properties=times, geometry=PLACE, bbox=[11, 48, 11, 48]) for name, times in TIMES.items()))


def found(client: Client, **parameters: Any) -> set[str]:
    """Return the ids that a search finds."""
    response = client.get("/search", query_string=parameters)
    assert response.status_code == 200, response.text
    return {feature["id"] for feature in response.json["features"]}


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ("2024-11-15T00:00:00Z", {"instant", "range", "inside"}),
        ("2024-11-20T00:00:00Z", {"range", "inside"}),
        ("2024-10-05T06:00:00Z", {"after"}),
        ("2025-02-10T00:00:00Z", {"after"}),
        ("2025-03-01T12:00:00Z", {"before"}),
        ("2024-08-01T00:00:00Z", set()),
        ("2024-06-01T00:00:00Z", {"end"}),
        ("2025-01-01T00:00:00Z", {"start"}),
        ("../2024-05-31T00:00:00Z", {"before", "old"}),
        ("2025-02-01T00:00:00Z/..", {"after", "before"}),
        ("2024-10-06T00:00:00Z/2024-10-30T00:00:00Z", set()),
        ("2019-01-01T00:00:00Z/2026-01-01T00:00:00Z", set(TIMES)),
    ],
)
def test_an_interval_finds_an_instant_or_a_range(client: Client, interval: str, expected: set[str]) -> None:
    """An item is found by its instant or by its range, and not by other instants, with and without an area."""
    assert found(client, datetime=interval) == expected
    assert found(client, datetime=interval, bbox="10,47,12,49", collections="collection") == expected
    counted = client.get("/search", query_string={"datetime": interval, "count": "true"}).json
    assert counted["numberMatched"] == len(expected)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("datetime IS NULL", {"range", "old"}),
        ("end_datetime IS NULL", {"instant", "start"}),
        ("start_datetime IS NOT NULL", {"range", "inside", "after", "before", "start", "old"}),
        ("datetime <= TIMESTAMP('2024-11-15T00:00:00Z')", {"instant", "before", "end"}),
        ("NOT datetime <= TIMESTAMP('2024-11-15T00:00:00Z')", {"inside", "after", "start"}),
        ("datetime <> TIMESTAMP('2024-11-15T00:00:00Z')", {"inside", "after", "before", "start", "end"}),
        (
            "datetime BETWEEN TIMESTAMP('2024-11-01T00:00:00Z') AND TIMESTAMP('2024-12-01T00:00:00Z')",
            {"instant", "inside"},
        ),
        ("end_datetime < TIMESTAMP('2024-11-15T00:00:00Z')", {"after", "old"}),
        ("NOT end_datetime < TIMESTAMP('2024-11-15T00:00:00Z')", {"range", "inside", "before", "end"}),
        ("start_datetime = TIMESTAMP('2024-06-01T00:00:00Z')", {"start"}),
        ("datetime > start_datetime", {"inside", "after", "start"}),
        ("year(datetime) = 2024", {"instant", "inside", "before", "end"}),
        ("datetime < TIMESTAMP('2024-02-01T00:00:00Z') OR datetime IS NULL", {"before", "range", "old"}),
        ("(datetime < TIMESTAMP('2024-02-01T00:00:00Z')) IS NULL", {"range", "old"}),
        ("(datetime IS NULL) IS NULL", set()),
        ("(datetime IS NULL) IN (TRUE, FALSE)", set(TIMES)),
        ("(datetime IS NULL) <= TRUE", set(TIMES)),
        ("(datetime IS NULL) = (end_datetime IS NULL)", {"inside", "after", "before", "end"}),
        ("T_INTERSECTS(INTERVAL(start_datetime, end_datetime), DATE('2024-10-05'))", {"after"}),
        ("T_AFTER(INTERVAL(start_datetime, end_datetime), DATE('2024-05-31'))", {*TIMES} - {"instant", "end", "old"}),
        ("T_BEFORE(INTERVAL(start_datetime, end_datetime), DATE('2026-01-01')) IS NULL", {"instant", "start"}),
        ("T_DISJOINT(datetime, INTERVAL('2024-11-01', '..'))", {"before", "end"}),
        ("datetime IN (TIMESTAMP('2024-11-15T00:00:00Z'), DATE('2025-01-01'))", {"instant", "start"}),
        ("properties.datetime >= TIMESTAMP('2025-02-10T00:00:00Z')", {"after"}),
    ],
)
def test_a_filter_compares_own_values(client: Client, expression: str, expected: set[str]) -> None:
    """In a filter, each time is the property's value, and null for items without it: neither equal nor unequal."""
    assert found(client, filter=expression) == expected


def test_a_query_compares_own_values(client: Client) -> None:
    """The query extension compares the same values."""

    def search(**query: Any) -> set[str]:
        return {feature["id"] for feature in client.post("/search", json={"query": query}).json["features"]}

    assert search(datetime={"lte": "2024-11-15T00:00:00Z"}) == {"instant", "before", "end"}
    assert search(end_datetime={"lt": "2024-11-15T00:00:00Z"}) == {"after", "old"}
    assert search(datetime={"neq": "2024-11-15T00:00:00Z"}) == {"inside", "after", "before", "start", "end"}


def pages(client: Client, **parameters: Any) -> list[list[str]]:
    """Follow next links to the end, and check that prev links lead through the same pages."""
    response = client.get("/search", query_string=parameters)
    forward = [response]
    while (link := _link(response, "next")) is not None:
        response = client.get(link)
        forward.append(response)
    back = [response]
    while (link := _link(response, "prev")) is not None:
        response = client.get(link)
        back.append(response)
    assert [_ids(page) for page in reversed(back)] == [_ids(page) for page in forward]
    return [_ids(page) for page in forward]


def _ids(response: Any) -> list[str]:
    assert response.status_code == 200, response.text
    return [feature["id"] for feature in response.json["features"]]


def _link(response: Any, rel: str) -> str | None:
    href = next((link["href"] for link in response.json["links"] if link["rel"] == rel), None)
    return None if href is None else f"{urlsplit(href).path}?{urlsplit(href).query}"


WHERE: list[dict[str, str]] = [{}, {"bbox": "10,47,12,49"}, {"collections": "collection"}, {"filter": "id <> 'none'"}]


@pytest.mark.parametrize("where", WHERE, ids=str)
@pytest.mark.parametrize("limit", [1, 3, 10])
@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("-datetime", [*reversed(BY_TIME), "range", "old"]),
        ("-properties.datetime", [*reversed(BY_TIME), "range", "old"]),
        ("+datetime", [*BY_TIME, "old", "range"]),
        ("-datetime,+id", [*reversed(BY_TIME), "old", "range"]),
    ],
)
def test_items_without_a_datetime_come_last(
    client: Client, sort: str, expected: list[str], limit: int, where: dict[str, str]
) -> None:
    """Items without a datetime come last in both directions, with any other parameter and limit, forward and back."""
    assert [name for page in pages(client, sortby=sort, limit=limit, **where) for name in page] == expected


@pytest.mark.parametrize(
    ("sort", "last"), [("-end_datetime", {"instant", "start"}), ("+end_datetime", {"instant", "start"})]
)
def test_items_without_an_end_come_last(client: Client, sort: str, last: set[str]) -> None:
    """Items without an end_datetime come last in both directions."""
    names = [name for page in pages(client, sortby=sort, limit=3) for name in page]
    ends = [TIMES[name].get("end_datetime") or "" for name in names[:-2]]
    assert ends == sorted(ends, reverse=sort[0] == "-")
    assert set(names[-2:]) == last


def test_datetime_as_the_second_key(client: Client, publish: Publish) -> None:
    """With datetime as the second key, items without one come last among equal items."""
    properties = {name: {**times, "level": len(name) % 2} for name, times in TIMES.items()}
    publish(*(an_item(name, "other", properties=one) for name, one in properties.items()))
    names = [n for page in pages(client, sortby="+level,-datetime", collections="other", limit=2) for n in page]
    expected = [
        name for level in (0, 1) for name in (*reversed(BY_TIME), "range", "old") if properties[name]["level"] == level
    ]
    assert names == expected


def test_items_that_all_lack_a_datetime_are_sorted_by_start(client: Client, publish: Publish) -> None:
    """A collection whose items have only ranges is sorted by their start_datetime."""
    ranges = [(f"m{n}", f"2024-0{n}-01T00:00:00Z", f"2024-0{n}-20T00:00:00Z") for n in range(1, 6)]
    times = {name: {"datetime": None, "start_datetime": start, "end_datetime": end} for name, start, end in ranges}
    publish(*(an_item(name, "months", properties=one) for name, one in times.items()))
    for sort in ("-datetime", "+datetime"):
        names = [name for page in pages(client, sortby=sort, collections="months", limit=2) for name in page]
        assert names == sorted(times, reverse=sort[0] == "-")
    publish(an_item("first", "months", properties={"datetime": "2020-01-01T00:00:00Z"}))
    response = client.get("/search", query_string={"sortby": "-datetime", "collections": "months", "limit": 2})
    assert _ids(response) == ["first", "m5"]


def test_the_default_order_is_by_datetime_or_start(client: Client) -> None:
    """Without sortby, newest items come first; an item without a datetime is sorted by its start_datetime."""
    starts = {name: times["datetime"] or times["start_datetime"] or "" for name, times in TIMES.items()}
    names = [name for page in pages(client, limit=3) for name in page]
    assert names == sorted(TIMES, key=lambda name: starts[name], reverse=True)


def test_an_embargo_hides_items_without_a_datetime(plug: Plug) -> None:
    """A policy that shows items up to a time hides items whose datetime is null, in lists and alone."""

    class Embargo:
        @hookimpl
        def restrict(self, of: str) -> Cql2 | None:
            cutoff = {"timestamp": "2024-12-31T00:00:00Z"}
            rule = {"op": "<=", "args": [{"property": "datetime"}, cutoff]}
            return rule if of == "items" else None

    client = plug(Embargo())
    visible = {"instant", "inside", "before", "end"}
    assert found(client) == visible
    assert found(client, datetime="../2030-01-01T00:00:00Z") == visible
    assert found(client, sortby="-datetime", bbox="10,47,12,49") == visible
    responses = {name: client.get(f"/collections/collection/items/{name}").status_code for name in TIMES}
    assert {name for name, status in responses.items() if status == 200} == visible
    assert client.get("/aggregate?aggregations=total_count").json["aggregations"][0]["value"] == len(visible)


def test_aggregations_of_own_values(client: Client) -> None:
    """Minimum, maximum and distribution of datetime omit items without one, which are counted in overflow."""
    names = "datetime_min,datetime_max,datetime_frequency"
    response = client.get(f"/aggregate?aggregations={names}&datetime_frequency_interval=year").json
    least, greatest, years = response["aggregations"]
    assert (least["value"], greatest["value"]) == ("2024-01-01T00:00:00Z", "2025-02-10T00:00:00Z")
    assert {bucket["key"][:4]: bucket["frequency"] for bucket in years["buckets"]} == {"2024": 4, "2025": 2}
    assert years["overflow"] == 2


def test_aggregations_of_items_without_a_datetime(client: Client) -> None:
    """If no item has a datetime, there is no minimum."""
    response = client.get("/aggregate?aggregations=datetime_min,datetime_frequency&ids=range,old").json
    least, years = response["aggregations"]
    assert least.get("value") is None
    assert (years["buckets"], years["overflow"]) == ([], 2)


def test_tokens_name_times_or_none(client: Client) -> None:
    """A token after which items without a datetime follow works; with another order it is 400."""
    response = client.get("/search?sortby=-datetime&limit=6")
    token = parse_qs(urlsplit(_link(response, "next") or "").query)["token"][0]
    assert _ids(client.get("/search", query_string={"sortby": "-datetime", "token": token})) == ["range", "old"]
    assert client.get("/search", query_string={"sortby": "id", "token": token}).status_code == 400

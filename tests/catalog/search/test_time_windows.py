"""Searches of an area that look at the newest weeks first find what a look at everything finds, page by page."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from stacflask.catalog.database.engine import Database
from stacflask.catalog.reader import Catalog
from stacflask.catalog.search.time_windows import FIRST_WINDOW, SECOND_WINDOW
from stacflask.model.decision import UNRESTRICTED, Restriction
from stacflask.model.query import Interval, ItemQuery
from stacflask.stac.times import format_instant
from stacflask.testing import an_item

Publish = Callable[..., None]
NEWEST = datetime(2024, 6, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
AGES = [
    *(
        timedelta(0),
        SECOND,
        FIRST_WINDOW - SECOND,
        FIRST_WINDOW,
        FIRST_WINDOW,
        FIRST_WINDOW + SECOND,
        FIRST_WINDOW * 2,
        FIRST_WINDOW * 3,
    ),
    *(
        SECOND_WINDOW - SECOND,
        SECOND_WINDOW,
        SECOND_WINDOW + SECOND,
        SECOND_WINDOW * 2,
        SECOND_WINDOW * 2,
        SECOND_WINDOW * 3,
        SECOND_WINDOW * 30,
    ),
]
HERE, AROUND = (10.0, 47.0, 12.0, 49.0), {"type": "Point", "coordinates": [11.0, 48.0]}


def an_old_item(name: str, age: timedelta, collection: str, *place: float) -> dict[str, Any]:
    geometry = {"type": "Point", "coordinates": [*place]}
    properties = {"datetime": format_instant(NEWEST - age)}
    return an_item(name, collection, geometry=geometry, bbox=[*place, *place], properties=properties)


@pytest.fixture
def published(publish: Publish) -> list[tuple[datetime, str, str]]:
    """Put items of all ages here, and others elsewhere; give those here, newest first."""
    here = [an_old_item(f"here-{n:02}", age, "ab"[n % 2], 11.0, 48.0) for n, age in enumerate(AGES)]
    there = [an_old_item(f"there-{n:02}", age - FIRST_WINDOW, "a", -60.0, 0.0) for n, age in enumerate(AGES)]
    publish(*here, *there)
    keys = [(NEWEST - age, "ab"[n % 2], f"here-{n:02}") for n, age in enumerate(AGES)]
    return sorted(keys, reverse=True)


def walked(catalog: Catalog, query: ItemQuery, restriction: Restriction = UNRESTRICTED) -> list[str]:
    """Go through all pages."""
    page = catalog.search(query, restriction)
    names = [record.id for record in page.records]
    while page.next is not None:
        page = catalog.search(replace(query, token=page.next), restriction)
        names += [record.id for record in page.records]
    return names


@pytest.mark.parametrize("area", [{"bbox": HERE}, {"intersects": AROUND}], ids=str)
@pytest.mark.parametrize("limit", [1, 3, 4, 100])
def test_every_page(
    database: Database, published: list[tuple[datetime, str, str]], area: dict[str, Any], limit: int
) -> None:
    """Whatever the size of pages, all that lies in the area comes once and newest first, and the same way back."""
    catalog, expected = Catalog(database), [name for _, _, name in published]
    assert walked(catalog, ItemQuery(limit, **area)) == expected
    last = catalog.search(ItemQuery(100, **area), UNRESTRICTED)
    assert [record.id for record in last.records] == expected
    some = ItemQuery(limit, collections=("b",), **area)
    assert walked(catalog, some) == [name for _, collection, name in published if collection == "b"]


@pytest.mark.parametrize("days", [(0, 100), (20, 500), (31, 5000), (None, 400), (40, None)], ids=str)
def test_in_long_intervals(
    database: Database, published: list[tuple[datetime, str, str]], days: tuple[int | None, int | None]
) -> None:
    """Within an interval the look back begins at its end."""
    end, start = (None if age is None else NEWEST - timedelta(days=age) for age in days)
    query = ItemQuery(2, bbox=HERE, interval=Interval(start, end))
    expected = [
        name for when, _, name in published if (start is None or when >= start) and (end is None or when <= end)
    ]
    assert walked(Catalog(database), query) == expected


@pytest.mark.parametrize("days", [-5, 0, 10, 31, 500, 5000], ids=str)
@pytest.mark.parametrize("sign", ["<", "<="])
def test_under_an_embargo(
    database: Database, published: list[tuple[datetime, str, str]], days: int, sign: Literal["<", "<="]
) -> None:
    """The look back begins where a policy, or a filter, ends what can be found, also beside other conditions."""
    end = NEWEST - timedelta(days=days)
    embargo: Any = {"op": sign, "args": [{"property": "datetime"}, {"timestamp": format_instant(end)}]}
    named: Any = {"op": "and", "args": [{"op": "like", "args": [{"property": "id"}, "here%"]}, embargo]}
    expected = [name for when, _, name in published if when < end or (sign == "<=" and when == end)]
    catalog = Catalog(database)
    for condition in (embargo, named):
        assert walked(catalog, ItemQuery(2, bbox=HERE), Restriction(items=condition)) == expected
        assert walked(catalog, ItemQuery(2, bbox=HERE, filter=condition)) == expected


def test_what_came_since_the_last_look(
    database: Database, published: list[tuple[datetime, str, str]], publish: Publish
) -> None:
    """Items newer than the newest that is remembered are found at once, and an empty area stays empty."""
    catalog = Catalog(database)
    assert walked(catalog, ItemQuery(2, bbox=(100.0, 0.0, 101.0, 1.0))) == []
    publish(an_old_item("newer", -SECOND_WINDOW, "a", 11.0, 48.0))
    assert walked(catalog, ItemQuery(2, bbox=HERE)) == ["newer", *(name for _, _, name in published)]


def test_the_way_back(database: Database, published: list[tuple[datetime, str, str]]) -> None:
    """From the last page, all pages lead back to the first."""
    catalog, expected = Catalog(database), [name for _, _, name in published]
    query = ItemQuery(4, bbox=HERE)
    page = catalog.search(query, UNRESTRICTED)
    while page.next is not None:
        page = catalog.search(ItemQuery(4, bbox=HERE, token=page.next), UNRESTRICTED)
    names = [record.id for record in page.records]
    while page.prev is not None:
        page = catalog.search(ItemQuery(4, bbox=HERE, token=page.prev), UNRESTRICTED)
        names = [*(record.id for record in page.records), *names]
    assert names == expected

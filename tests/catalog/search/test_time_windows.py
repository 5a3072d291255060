"""Searches of an area in windows of time find the same pages as a search of all time."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from stacflask.catalog.database.engine import Database
from stacflask.catalog.reader import Catalog
from stacflask.catalog.search.time_windows import FIRST_WINDOW, SECOND_WINDOW
from stacflask.model.decision import UNRESTRICTED, Restriction
from stacflask.model.query import ItemQuery, QueryInterval
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
BOX, POINT = (10.0, 47.0, 12.0, 49.0), {"type": "Point", "coordinates": [11.0, 48.0]}


def an_old_item(name: str, age: timedelta, collection: str, *place: float) -> dict[str, Any]:
    geometry = {"type": "Point", "coordinates": [*place]}
    properties = {"datetime": format_instant(NEWEST - age)}
    return an_item(name, collection, geometry=geometry, bbox=[*place, *place], properties=properties)


@pytest.fixture
def published(publish: Publish) -> list[tuple[datetime, str, str]]:
    """Publish items of all ages in the area and elsewhere. Return the keys of those in the area, newest first."""
    here = [an_old_item(f"here-{n:02}", age, "ab"[n % 2], 11.0, 48.0) for n, age in enumerate(AGES)]
    there = [an_old_item(f"there-{n:02}", age - FIRST_WINDOW, "a", -60.0, 0.0) for n, age in enumerate(AGES)]
    publish(*here, *there)
    keys = [(NEWEST - age, "ab"[n % 2], f"here-{n:02}") for n, age in enumerate(AGES)]
    return sorted(keys, reverse=True)


def ids_of_all_pages(catalog: Catalog, query: ItemQuery, restriction: Restriction = UNRESTRICTED) -> list[str]:
    """Return the item ids of all pages."""
    page = catalog.search(query, restriction)
    names = [record.id for record in page.records]
    while page.next is not None:
        page = catalog.search(replace(query, token=page.next), restriction)
        names += [record.id for record in page.records]
    return names


@pytest.mark.parametrize("area", [{"bbox": BOX}, {"intersects": POINT}], ids=str)
@pytest.mark.parametrize("limit", [1, 3, 4, 100])
def test_pages_of_an_area_have_every_item_once_newest_first(
    database: Database, published: list[tuple[datetime, str, str]], area: dict[str, Any], limit: int
) -> None:
    """Pages of any size list every item of the area once, newest first."""
    catalog, expected = Catalog(database), [name for _, _, name in published]
    assert ids_of_all_pages(catalog, ItemQuery(limit, **area)) == expected
    last = catalog.search(ItemQuery(100, **area), UNRESTRICTED)
    assert [record.id for record in last.records] == expected
    some = ItemQuery(limit, collections=("b",), **area)
    assert ids_of_all_pages(catalog, some) == [name for _, collection, name in published if collection == "b"]


@pytest.mark.parametrize("days", [(0, 100), (20, 500), (31, 5000), (None, 400), (40, None)], ids=str)
def test_windows_begin_at_the_end_of_an_interval(
    database: Database, published: list[tuple[datetime, str, str]], days: tuple[int | None, int | None]
) -> None:
    """In an interval the first window begins at its end."""
    end, start = (None if age is None else NEWEST - timedelta(days=age) for age in days)
    query = ItemQuery(2, bbox=BOX, interval=QueryInterval(start, end))
    expected = [
        name for when, _, name in published if (start is None or when >= start) and (end is None or when <= end)
    ]
    assert ids_of_all_pages(Catalog(database), query) == expected


@pytest.mark.parametrize("days", [-5, 0, 10, 31, 500, 5000], ids=str)
@pytest.mark.parametrize("sign", ["<", "<="])
def test_windows_begin_at_the_end_of_an_embargo(
    database: Database, published: list[tuple[datetime, str, str]], days: int, sign: Literal["<", "<="]
) -> None:
    """The first window begins at the upper bound of a policy or a filter, also next to other conditions."""
    end = NEWEST - timedelta(days=days)
    embargo: Any = {"op": sign, "args": [{"property": "datetime"}, {"timestamp": format_instant(end)}]}
    named: Any = {"op": "and", "args": [{"op": "like", "args": [{"property": "id"}, "here%"]}, embargo]}
    expected = [name for when, _, name in published if when < end or (sign == "<=" and when == end)]
    catalog = Catalog(database)
    for condition in (embargo, named):
        assert ids_of_all_pages(catalog, ItemQuery(2, bbox=BOX), Restriction(items=condition)) == expected
        assert ids_of_all_pages(catalog, ItemQuery(2, bbox=BOX, filter=condition)) == expected


def test_items_newer_than_the_cached_newest_are_found(
    database: Database, published: list[tuple[datetime, str, str]], publish: Publish
) -> None:
    """Items newer than the cached newest time are found at once, and an empty area has no results."""
    catalog = Catalog(database)
    assert ids_of_all_pages(catalog, ItemQuery(2, bbox=(100.0, 0.0, 101.0, 1.0))) == []
    publish(an_old_item("newer", -SECOND_WINDOW, "a", 11.0, 48.0))
    assert ids_of_all_pages(catalog, ItemQuery(2, bbox=BOX)) == ["newer", *(name for _, _, name in published)]


def test_prev_links_lead_back_to_the_first_page(database: Database, published: list[tuple[datetime, str, str]]) -> None:
    """Links to previous pages lead from the last page to the first."""
    catalog, expected = Catalog(database), [name for _, _, name in published]
    query = ItemQuery(4, bbox=BOX)
    page = catalog.search(query, UNRESTRICTED)
    while page.next is not None:
        page = catalog.search(ItemQuery(4, bbox=BOX, token=page.next), UNRESTRICTED)
    names = [record.id for record in page.records]
    while page.prev is not None:
        page = catalog.search(ItemQuery(4, bbox=BOX, token=page.prev), UNRESTRICTED)
        names = [*(record.id for record in page.records), *names]
    assert names == expected

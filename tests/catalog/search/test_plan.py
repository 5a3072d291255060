"""Every plan of a search finds every item once: collection by collection, in time windows, under restrictions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stacflask.catalog.database.engine import Database
from stacflask.catalog.documents.documents import Managed
from stacflask.catalog.reader import Catalog
from stacflask.catalog.writer import Writer
from stacflask.model.decision import UNRESTRICTED, Restriction
from stacflask.model.query import ItemQuery, QueryInterval, SortKey
from stacflask.stac.times import format_instant
from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
NOW = datetime(2024, 6, 1, tzinfo=UTC)
HERE, WIDE = (10.0, 47.0, 12.0, 49.0), (-20.0, 30.0, 40.0, 70.0)
RARE_COLLECTIONS = ("rare-0", "rare-1", "rare-2", "rare-3", "burst", "empty")


@dataclass(frozen=True)
class Published:
    """An item that was published."""

    when: datetime
    collection: str
    name: str
    position: tuple[float, float]
    cloud: float

    @property
    def document(self) -> dict[str, Any]:
        """The item as a document."""
        properties = {"datetime": format_instant(self.when), "eo:cloud_cover": self.cloud}
        geometry = {"type": "Point", "coordinates": [*self.position]}
        return an_item(self.name, self.collection, geometry=geometry, bbox=[*self.position] * 2, properties=properties)

    def within(self, box: tuple[float, ...] | None) -> bool:
        """Return whether the item lies in a box."""
        return box is None or (box[0] <= self.position[0] <= box[2] and box[1] <= self.position[1] <= box[3])


def rare_items(random: Random) -> Iterator[Published]:
    for number in range(240):
        when = NOW - timedelta(days=random.choice([1, 30, 400, 4000]) * random.random())
        position = (random.choice([11.0, 0.0, -60.0]), random.choice([48.0, 0.0]))
        yield Published(when, f"rare-{number % 4}", f"item-{number:03}", position, random.randrange(100))
    moment = NOW - timedelta(days=50)
    for number in range(30):  # all at one time, at which other collections have items, too
        yield Published(moment, ("burst", "rare-1")[number % 5 == 0], f"burst-{number:02}", (11.0, 48.0), number * 3)


def spread_position(number: int) -> tuple[float, float]:
    """Return one of many positions, spread evenly over Europe."""
    return 5.0 + number % 97 / 10, 44.0 + number % 89 / 10


@pytest.fixture(scope="module")
def rare() -> list[Published]:
    """Return items of a few collections, newest first."""
    published = list(rare_items(Random(7)))
    return sorted(published, key=lambda one: (one.when, one.collection, one.name), reverse=True)


@pytest.fixture
def catalog(database: Database, rare: list[Published]) -> Catalog:
    """Publish those items, and many more in another collection."""
    catalog = Catalog(database)
    writer = Writer(catalog, Managed())
    others = [
        Published(NOW - timedelta(hours=n), "common", f"other-{n:04}", spread_position(n), 5) for n in range(1000)
    ]
    for name in (*RARE_COLLECTIONS, "common"):
        writer.create_collection(a_collection(name))
        writer.create_items(name, [one.document for one in (*rare, *others) if one.collection == name])
    return catalog


@pytest.fixture
def analyzed(catalog: Catalog) -> Catalog:
    """Analyze the table, so that the planner estimates as in a server."""
    with catalog.database.write() as connection:
        connection.execute(sa.text("ANALYZE items"))
    return catalog


def pages(catalog: Catalog, query: ItemQuery, restriction: Restriction) -> list[tuple[str, str]]:
    """Return the keys of the items of all pages."""
    page = catalog.search(query, restriction)
    found = [(record.collection, record.id) for record in page.records]
    while page.next is not None:
        page = catalog.search(replace(query, token=page.next), restriction)
        assert len(page.records) <= query.limit
        found += [(record.collection, record.id) for record in page.records]
    return found


def less_than(cloud: int) -> Any:
    return {"op": "<", "args": [{"property": "eo:cloud_cover"}, cloud]}


queries = st.fixed_dictionaries(
    {
        "limit": st.sampled_from([1, 7, 10, 100]),
        "names": st.lists(st.sampled_from(RARE_COLLECTIONS), min_size=1, max_size=6, unique=True),
        "box": st.sampled_from([None, None, HERE, WIDE]),
        "cloud": st.sampled_from([None, None, 3, 40]),
        "rule": st.sampled_from([None, None, 5, 80]),
        "days": st.sampled_from([None, (None, 20), (600, 30), (50, 50), (300, None), (9000, 5000)]),
        "sort": st.sampled_from([(), (SortKey("datetime", descending=True), SortKey("id"))]),
    }
)


def test_pages_have_every_matching_item_once(analyzed: Catalog, rare: list[Published]) -> None:
    """For any combination of parameters, the pages list every matching item once, newest first."""

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(queries)
    def check(choice: dict[str, Any]) -> None:
        start, end = (None if day is None else NOW - timedelta(days=day) for day in choice["days"] or (None, None))
        interval = None if choice["days"] is None else QueryInterval(start, end)
        expected_items = [
            one
            for one in rare
            if one.collection in choice["names"]
            and one.within(choice["box"])
            and all(limit is None or one.cloud < limit for limit in (choice["cloud"], choice["rule"]))
            and (start is None or one.when >= start)
            and (end is None or one.when <= end)
        ]
        chosen = None if choice["cloud"] is None else less_than(choice["cloud"])
        query = ItemQuery(
            choice["limit"], tuple(choice["names"]), None, choice["box"], None, interval, chosen, None, choice["sort"]
        )
        rule = UNRESTRICTED if choice["rule"] is None else Restriction(items=less_than(choice["rule"]))
        if choice["sort"]:
            expected_items.sort(key=lambda one: one.name)
            expected_items.sort(key=lambda one: one.when, reverse=True)
        assert pages(analyzed, query, rule) == [(one.collection, one.name) for one in expected_items]

    check()


def test_pages_under_a_restriction_have_every_visible_item(catalog: Catalog, rare: list[Published]) -> None:
    """Under a restriction of items, the pages list every visible item of all collections."""
    rule = Restriction(items={"op": ">", "args": [{"property": "eo:cloud_cover"}, 5]})
    expected = [(one.collection, one.name) for one in rare if one.cloud > 5]
    assert pages(catalog, ItemQuery(10), rule) == expected
    assert pages(catalog, ItemQuery(100), Restriction(items=less_than(0))) == []


def test_intervals_and_embargoes_can_have_any_time(catalog: Catalog, rare: list[Published]) -> None:
    """The earliest and the latest time are valid in an interval and in an embargo."""
    latest, earliest = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)
    names = ("rare-0", "rare-1")
    expected = [(one.collection, one.name) for one in rare if one.collection in names]
    for box in (None, WIDE):
        query = ItemQuery(100, names, bbox=box, interval=QueryInterval(earliest, latest))
        rule = Restriction(
            items={"op": "<=", "args": [{"property": "datetime"}, {"timestamp": format_instant(latest)}]}
        )
        expected_items = (
            expected
            if box is None
            else [(one.collection, one.name) for one in rare if one.collection in names and one.within(box)]
        )
        assert pages(catalog, query, UNRESTRICTED) == pages(catalog, query, rule) == expected_items


def test_new_items_are_found_and_deleted_ones_leave_no_gap(
    catalog: Catalog, publish: Publish, rare: list[Published]
) -> None:
    """Items newer than the cached newest one are found, and deleted items leave no gap in a page."""
    query, names = (
        ItemQuery(10, ("rare-0", "empty")),
        [one.name for one in rare if one.collection == "rare-0"],
    )
    assert [name for _, name in pages(catalog, query, UNRESTRICTED)] == names
    newer = Published(NOW + timedelta(days=1), "empty", "newer", (11.0, 48.0), 0)
    publish(newer.document)
    for name in names[:9]:
        Writer(catalog, Managed()).delete_item("rare-0", name, None)
    assert [name for _, name in pages(catalog, query, UNRESTRICTED)] == ["newer", *names[9:]]

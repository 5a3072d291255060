"""Searches for an interval know how long items last, and never miss one that lasts longer than any before."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stacflask.catalog.database.engine import Database
from stacflask.catalog.reader import Catalog
from stacflask.model.decision import UNRESTRICTED
from stacflask.model.query import Interval, ItemQuery
from stacflask.stac.times import format_instant
from stacflask.testing import an_item

Publish = Callable[..., None]
START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def catalog(database: Database) -> Catalog:
    return Catalog(database)


def lasting(name: str, first: float, days: float, collection: str = "c", at: float | None = 0) -> dict[str, Any]:
    """Make an item that lasts from day ``first`` for so many days; its datetime is ``at`` of them after the start."""
    start = START + timedelta(days=first)
    moment = None if at is None else format_instant(start + timedelta(days=days * at))
    ends = {"start_datetime": format_instant(start), "end_datetime": format_instant(start + timedelta(days=days))}
    return an_item(name, collection, properties={"datetime": moment, **(ends if days else {})})


def found(catalog: Catalog, first: float | None, last: float | None, *collections: str) -> set[str]:
    start, end = (None if day is None else START + timedelta(days=day) for day in (first, last))
    query = ItemQuery(1000, collections=collections or None, interval=Interval(start, end))
    return {record.id for record in catalog.search(query, UNRESTRICTED).records}


def test_what_lasts_longer_than_any_before(catalog: Catalog, publish: Publish) -> None:
    """A reader that remembers only instants finds the first item that lasts a year, alone or among all."""
    publish(lasting("instant", 500, 0))
    assert found(catalog, 100, 200) == set()
    publish(lasting("year", 0, 365))
    assert found(catalog, 100, 200) == {"year"}
    publish(lasting("decade", 0, 3652, "other"))
    assert found(catalog, 1000, 1001, "c") == set()
    assert found(catalog, 1000, 1001) == {"decade"}
    assert found(catalog, 1000, 1001, "other", "c") == {"decade"}


def test_an_item_that_is_made_longer(catalog: Catalog, publish: Publish, database: Database) -> None:
    """What is replaced by something longer is found by its new range."""
    from stacflask.catalog.documents.documents import Managed
    from stacflask.catalog.writer import Writer

    publish(lasting("a", 0, 1))
    assert found(catalog, 50, 60) == set()
    Writer(catalog, Managed()).change_item("c", "a", lambda _: lasting("a", 0, 100), None)
    assert found(catalog, 50, 60) == {"a"}


def test_the_ends_of_time(catalog: Catalog, publish: Publish) -> None:
    """Years 1 and 9999 are not further than an interval reaches."""
    publish(
        an_item(
            "all",
            properties={
                "datetime": None,
                "start_datetime": "0001-01-01T00:00:00Z",
                "end_datetime": "9999-12-31T23:59:59Z",
            },
        )
    )
    for first, last in ((None, 0), (0, None), (0, 1), (-738885, -738884), (2913000, 2913001)):
        assert found(catalog, first, last) == {"all"}


def test_any_intervals(catalog: Catalog, publish: Publish) -> None:
    """Whatever items last, an interval finds those that it meets, by the plainest comparison."""
    spans = [
        (float(n % 17), float(n % 5 and 3.0 ** (n % 7)), (None, 0, 0.5, 1)[n % 4 if n % 5 else 1]) for n in range(60)
    ]
    publish(*(lasting(f"i{n}", first, days, f"c{n % 3}", at) for n, (first, days, at) in enumerate(spans)))

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(-1600, 1600), st.integers(0, 1800), st.sets(st.sampled_from(["c0", "c1", "c2"])))
    def hold(halves: int, length: int, collections: set[str]) -> None:
        first, last = halves / 2, (halves + length) / 2
        expected = {
            f"i{n}"
            for n, (begin, days, _) in enumerate(spans)
            if begin <= last and begin + days >= first and (not collections or f"c{n % 3}" in collections)
        }
        assert found(catalog, first, last, *collections) == expected

    hold()


def test_an_item_that_comes_between_two_looks(
    catalog: Catalog, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that was begun before the longest item of all came has all there is, too."""
    publish(*(lasting(f"day-{day:03}", day, 0) for day in (1, 20, 400, 690, 700)))
    original, looks = catalog.database.records, []

    def records(*asked: Any, **more: Any) -> Any:
        rows = original(*asked, **more)
        looks.append(rows)
        if len(looks) == 1:
            publish(lasting("years", -1000, 2000))
        return rows

    monkeypatch.setattr(catalog.database, "records", records)
    area, interval = (0.0, 0.0, 90.0, 90.0), Interval(START - timedelta(days=2000), START + timedelta(days=701))
    found = catalog.search(ItemQuery(100, bbox=area, interval=interval), UNRESTRICTED).records
    assert [record.id for record in found] == ["day-700", "day-690", "day-400", "day-020", "day-001", "years"]
    assert 0 < len(looks[0]) < len(found)

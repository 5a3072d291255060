"""Searches for an interval use a bound on durations, and never miss an item that is longer than any before."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stacflask.catalog.database.engine import Database
from stacflask.catalog.reader import Catalog
from stacflask.model.decision import UNRESTRICTED
from stacflask.model.query import ItemQuery, QueryInterval
from stacflask.stac.times import format_instant
from stacflask.testing import an_item

Publish = Callable[..., None]
START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def catalog(database: Database) -> Catalog:
    return Catalog(database)


def item_of_days(name: str, first: float, days: float, collection: str = "c", at: float | None = 0) -> dict[str, Any]:
    """Return an item from day ``first`` for ``days`` days. Its datetime is after a share ``at`` of them."""
    start = START + timedelta(days=first)
    moment = None if at is None else format_instant(start + timedelta(days=days * at))
    ends = {"start_datetime": format_instant(start), "end_datetime": format_instant(start + timedelta(days=days))}
    return an_item(name, collection, properties={"datetime": moment, **(ends if days else {})})


def found(catalog: Catalog, first: float | None, last: float | None, *collections: str) -> set[str]:
    start, end = (None if day is None else START + timedelta(days=day) for day in (first, last))
    query = ItemQuery(1000, collections=collections or None, interval=QueryInterval(start, end))
    return {record.id for record in catalog.search(query, UNRESTRICTED).records}


def test_a_longer_item_than_any_before_is_found(catalog: Catalog, publish: Publish) -> None:
    """A reader that has cached only instants finds the first item of a year, in one collection and in all."""
    publish(item_of_days("instant", 500, 0))
    assert found(catalog, 100, 200) == set()
    publish(item_of_days("year", 0, 365))
    assert found(catalog, 100, 200) == {"year"}
    publish(item_of_days("decade", 0, 3652, "other"))
    assert found(catalog, 1000, 1001, "c") == set()
    assert found(catalog, 1000, 1001) == {"decade"}
    assert found(catalog, 1000, 1001, "other", "c") == {"decade"}


def test_a_lengthened_item_is_found_by_its_new_range(catalog: Catalog, publish: Publish, database: Database) -> None:
    """An item that is replaced by a longer one is found by its new range."""
    from stacflask.catalog.documents.documents import Managed
    from stacflask.catalog.writer import Writer

    publish(item_of_days("a", 0, 1))
    assert found(catalog, 50, 60) == set()
    Writer(catalog, Managed()).change_item("c", "a", lambda _: item_of_days("a", 0, 100), None)
    assert found(catalog, 50, 60) == {"a"}


def test_intervals_at_the_limits_of_time_find_the_item(catalog: Catalog, publish: Publish) -> None:
    """An item from year 1 to 9999 is found by every interval."""
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


def test_any_interval_finds_the_items_that_it_meets(catalog: Catalog, publish: Publish) -> None:
    """An interval finds the items that it meets by plain comparison, for items of any duration."""
    spans = [
        (float(n % 17), float(n % 5 and 3.0 ** (n % 7)), (None, 0, 0.5, 1)[n % 4 if n % 5 else 1]) for n in range(60)
    ]
    publish(*(item_of_days(f"i{n}", first, days, f"c{n % 3}", at) for n, (first, days, at) in enumerate(spans)))

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(-1600, 1600), st.integers(0, 1800), st.sets(st.sampled_from(["c0", "c1", "c2"])))
    def check(halves: int, length: int, collections: set[str]) -> None:
        first, last = halves / 2, (halves + length) / 2
        expected = {
            f"i{n}"
            for n, (begin, days, _) in enumerate(spans)
            if begin <= last and begin + days >= first and (not collections or f"c{n % 3}" in collections)
        }
        assert found(catalog, first, last, *collections) == expected

    check()


def test_a_longer_item_written_between_two_statements_is_found(
    catalog: Catalog, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page includes an item longer than all others that is written after the first statement of the page."""
    publish(*(item_of_days(f"day-{day:03}", day, 0) for day in (1, 20, 400, 690, 700)))
    original, results = catalog.database.records, []

    def records(*args: Any, **kwargs: Any) -> Any:
        rows = original(*args, **kwargs)
        results.append(rows)
        if len(results) == 1:
            publish(item_of_days("years", -1000, 2000))
        return rows

    monkeypatch.setattr(catalog.database, "records", records)
    area, interval = (0.0, 0.0, 90.0, 90.0), QueryInterval(START - timedelta(days=2000), START + timedelta(days=701))
    found = catalog.search(ItemQuery(100, bbox=area, interval=interval), UNRESTRICTED).records
    assert [record.id for record in found] == ["day-700", "day-690", "day-400", "day-020", "day-001", "years"]
    assert 0 < len(results[0]) < len(found)

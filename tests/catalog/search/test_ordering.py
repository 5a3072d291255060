"""Sorted lists: every order is total, and the same forward and backward, for values of all types."""

import json
import random
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stacflask.catalog.database.engine import Database
from stacflask.catalog.reader import Catalog
from stacflask.catalog.search.page_tokens import BINDING_LENGTH
from stacflask.errors import BadQuery
from stacflask.model.decision import UNRESTRICTED
from stacflask.model.page import Page
from stacflask.model.query import ItemQuery, SortKey
from stacflask.testing import an_item

Publish = Callable[..., None]
Key = tuple[str, str]
Item = dict[str, Any]

TIMES = [f"2024-01-0{day}T00:00:00Z" for day in range(1, 5)]
VALUES: list[Any] = [
    *(None, [], [1], {}, {"a": 1}, True, False),
    *(0, -1, 1, 1.5, 0.1, 1e-300, 1e300, 2**62 + 1, 2**62, 0.30000000000000004, 0.3),
    *("", "a", "ä", "b", "B", "10", "9", "\U0001f6f0", "\uffff", "true", "null"),
]
"""Values of each type, and values that other servers confuse."""
ABSENT = object()


@pytest.fixture
def catalog(database: Database) -> Catalog:
    return Catalog(database)


def items() -> list[Item]:
    """Return items of two collections with the same ids, few times, and different values of the property ``x``."""
    values = [*VALUES, *VALUES[:8], ABSENT, ABSENT]
    return [
        an_item(f"i{n:02}", name, properties={"datetime": TIMES[(n * 7 + m) % len(TIMES)], **_own_properties(value, n)})
        for m, name in enumerate(("one", "two"))
        for n, value in enumerate(values)
    ]


def _own_properties(value: Any, number: int) -> Item:
    return {"y": number % 3, **({} if value is ABSENT else {"x": value})}


def rank_and_value(item: Item, key: SortKey) -> tuple[int, Any]:
    """Return the rank of a value's type, and the value."""
    members = {**item["properties"], "collection": item["collection"], "id": item["id"]}
    value = members.get(key.name.removeprefix("properties."))
    for rank, kind in enumerate(((int, float), (str,), (bool,))):
        if isinstance(value, kind) and isinstance(value, bool) is (bool in kind):
            return rank, value
    return 3, 0


def expected_order(found: list[Item], sort: tuple[SortKey, ...]) -> list[Key]:
    """Return keys in the documented order, with one stable sort for each sort key, the last one first."""
    last = sort[-1].descending if sort else True
    keys = (
        *(sort or (SortKey("datetime", descending=True),)),
        *(SortKey(t, last) for t in ("datetime", "collection", "id")),
    )
    for key in reversed(keys):
        found = _sorted_by(found, key)
    return [(item["collection"], item["id"]) for item in found]


def _sorted_by(found: list[Item], key: SortKey) -> list[Item]:
    placed = [(rank_and_value(item, key), item) for item in found]
    groups = [[(value, item) for (kind, value), item in placed if kind == rank] for rank in range(4)]
    return [item for group in groups for _, item in sorted(group, key=lambda pair: pair[0], reverse=key.descending)]


def keys(page: Page) -> list[Key]:
    return [(record.collection, record.id) for record in page.records]


def pages(catalog: Catalog, query: ItemQuery, rel: str = "next") -> Iterator[Page]:
    page = catalog.search(query, UNRESTRICTED)
    yield page
    while (token := getattr(page, rel)) is not None:
        page = catalog.search(replace(query, token=token), UNRESTRICTED)
        yield page


NAMES = ["x", "properties.x", "y", "datetime", "properties.datetime", "id", "collection", "end_datetime", "never"]
SORTS: list[tuple[SortKey, ...]] = [
    (),
    *((SortKey(name, down),) for name in ("x", "y", "id", "collection", "datetime", "never") for down in (True, False)),
    (SortKey("y", True), SortKey("x")),
    (SortKey("x"), SortKey("properties.x", True)),
    (SortKey("collection"), SortKey("datetime", True), SortKey("x")),
]


@pytest.mark.parametrize("sort", SORTS, ids=str)
def test_an_order_is_the_same_forward_and_back(catalog: Catalog, publish: Publish, sort: tuple[SortKey, ...]) -> None:
    """Pages list every item once in the documented order, and their links lead back the same way."""
    found = items()
    publish(*found)
    check_pages_both_ways(catalog, expected_order(found, sort), sort)


def check_pages_both_ways(
    catalog: Catalog, expected: list[Key], sort: tuple[SortKey, ...], limits: tuple[int, ...] = (3, 200)
) -> None:
    for limit in limits:
        query = ItemQuery(limit, sort=sort)
        forward = list(pages(catalog, query))
        assert [key for page in forward for key in keys(page)] == expected
        if (token := forward[-1].prev) is not None:
            back = list(pages(catalog, replace(query, token=token), "prev"))
            assert [keys(page) for page in back[::-1]] == [keys(page) for page in forward[:-1]]


def test_any_combination_of_sort_keys_is_a_total_order(catalog: Catalog, publish: Publish) -> None:
    """The same holds for up to four names in any directions, also repeated ones."""
    found = items()
    publish(*found)

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.builds(SortKey, st.sampled_from(NAMES), st.booleans()), max_size=4))
    def check(sort: list[SortKey]) -> None:
        check_pages_both_ways(catalog, expected_order(found, tuple(sort)), tuple(sort), (17,))

    check()


def test_numbers_are_not_rounded(catalog: Catalog, publish: Publish) -> None:
    """Numbers that are equal as floats keep their order from page to page."""
    numbers = [2**62 + n for n in range(9)]
    publish(*(an_item(f"i{n}", properties={"datetime": TIMES[0], "x": number}) for n, number in enumerate(numbers)))
    seen = [key for page in pages(catalog, ItemQuery(2, sort=(SortKey("x", True),))) for key in keys(page)]
    assert [name for _, name in seen] == [f"i{n}" for n in reversed(range(9))]


def test_unsortable_names_are_errors_of_sortby(catalog: Catalog) -> None:
    """Geometries, nine names and invalid names are errors of sortby."""
    for sort in ((SortKey("geometry"),), tuple(SortKey(f"n{n}") for n in range(9)), (SortKey("a\0"),)):
        with pytest.raises(BadQuery, match="sortby: "):
            catalog.search(ItemQuery(1, sort=sort), UNRESTRICTED)


def token(*parts: Any) -> str:
    return urlsafe_b64encode(json.dumps(parts).encode()).rstrip(b"=").decode()


FORGED = [
    token(">", None, TIMES[0], "c"),
    token(">", [1], TIMES[0], "c", "i"),
    token(">", {}, TIMES[0], "c", "i"),
    token(">", 1, None, "c", "i"),
    token(">", 1, 5, "c", "i"),
    token(">", 1, TIMES[0], 1, "i"),
    token(">", 1, TIMES[0], "c", False),
    token(">", "\ud800", TIMES[0], "c", "i"),
    token(">", "a\0", TIMES[0], "c", "i"),
    urlsafe_b64encode(b'[">",1e999999999,"2024-01-01T00:00:00Z","c","i"]').decode(),
    urlsafe_b64encode(b'[">",NaN,"2024-01-01T00:00:00Z","c","i"]').decode(),
    urlsafe_b64encode(b'[">",Infinity,"2024-01-01T00:00:00Z","c","i"]').decode(),
]


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_token_is_refused(catalog: Catalog, forged: str) -> None:
    """A position that does not fit the list is an error of the token, and never reaches the database."""
    with pytest.raises(BadQuery, match="token: "):
        catalog.search(ItemQuery(1, sort=(SortKey("x"),), token=forged), UNRESTRICTED)


def test_a_token_contains_only_sort_values(catalog: Catalog, publish: Publish) -> None:
    """A token contains the sort values of a position, with their types."""
    publish(
        *(an_item(f"i{n}", properties={"datetime": TIMES[0], "x": value}) for n, value in enumerate((0.1, "a", True)))
    )
    found = [page.next for page in pages(catalog, ItemQuery(1, sort=(SortKey("x"),)))]
    decoded = [json.loads(urlsafe_b64decode(text[BINDING_LENGTH:] + "==")) for text in found if text is not None]
    assert decoded == [[">", 0.1, TIMES[0], "collection", "i0"], [">", "a", TIMES[0], "collection", "i1"]]


def test_concurrent_writes_neither_repeat_nor_skip_an_item(
    catalog: Catalog, publish: Publish, database: Database
) -> None:
    """A client that pages through a sorted list during writes gets each permanent item exactly once."""
    publish(*items())
    permanent = {(item["collection"], item["id"]) for item in items()}
    done = threading.Event()
    chance = random.Random(4)

    def write() -> None:
        while not done.is_set():
            name = f"come{chance.random()}"
            publish(an_item(name, "one", properties={"datetime": TIMES[0], "x": chance.choice(VALUES)}))
            with database.write() as connection:
                connection.execute(sa.text("DELETE FROM items WHERE id LIKE 'come%' AND random() < 0.5"))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for sort in SORTS[:5]:
            seen = [key for page in pages(catalog, ItemQuery(7, sort=sort)) for key in keys(page)]
            assert len(set(seen)) == len(seen)
            assert permanent <= set(seen)
    finally:
        done.set()
        writer.join()

"""Page tokens are bound to their query: one digest for all spellings of a query, other digests for other queries."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stacflask.api.parameters import freetext
from stacflask.catalog.cql2 import parse
from stacflask.catalog.search.item_search import item_order
from stacflask.catalog.search.page_tokens import BINDING_LENGTH, PageTokens
from stacflask.catalog.search.paging import Position
from stacflask.errors import BadQuery
from stacflask.model.query import ItemQuery, SortKey
from stacflask.stac.times import parse_interval

NAMES = st.sampled_from(["a", "eo:cloud_cover", "ä", "datetime"])
NUMBERS = st.one_of(st.integers(-(10**6), 10**6), st.decimals(-1000, 1000, places=3))
COMPARISONS = st.tuples(st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), NAMES, NUMBERS)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda parts: st.tuples(st.sampled_from(["and", "or"]), st.lists(parts, min_size=2, max_size=3)),
    max_leaves=6,
)
QUERIES = st.fixed_dictionaries(
    {},
    optional={
        "collections": st.frozensets(st.sampled_from("abc"), min_size=1),
        "ids": st.frozensets(st.text(max_size=3), min_size=1, max_size=3),
        "bbox": st.sampled_from([(0, 0, 1, 1), (0, 0, 1, 2), (0, 0, 0, 1, 1, 1)]),
        "interval": st.sampled_from(["2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z/..", "../2024-01-01T00:00:00Z"]),
        "text": st.sampled_from(["a", "b", "a,b", "+a -b"]),
        "filter": CONDITIONS,
        "sort": st.lists(
            st.builds(SortKey, NAMES, st.booleans()), min_size=1, max_size=2, unique_by=lambda key: key.name
        ),
    },
)


def as_json(condition: Any, random_order: random.Random) -> Any:
    if len(condition) == 2:
        name, parts = condition
        return {"op": name, "args": [as_json(part, random_order) for part in random_order.sample(parts, len(parts))]}
    name, member, number = condition
    value = float(number) if random_order.random() < 0.5 or number != int(number) else int(number)
    operands = [{"property": member}, value]
    return dict(random_order.sample([("op", name), ("args", operands)], 2))


def as_text(condition: Any, random_order: random.Random) -> str:
    if len(condition) == 2:
        name, parts = condition
        return (
            "("
            + f" {name.upper()} ".join(as_text(part, random_order) for part in random_order.sample(parts, len(parts)))
            + ")"
        )
    name, member, number = condition
    return f'"{member}" {name} {number}'


def spelled(query: dict[str, Any], seed: int) -> ItemQuery:
    """Return a query in one of its spellings."""
    random_order, made = random.Random(seed), dict(query)
    for name in ("collections", "ids"):
        if name in made:
            several = [*made[name], *made[name]]
            made[name] = tuple(random_order.sample(several, len(several)))
    if "filter" in made:
        text = as_text(made["filter"], random_order)
        made["filter"] = parse(text) if random_order.random() < 0.5 else as_json(made["filter"], random_order)
    if "bbox" in made:
        made["bbox"] = tuple(map(float, made["bbox"]))
    if "interval" in made:
        made["interval"] = parse_interval(made["interval"].replace("Z", random_order.choice(["Z", ".000Z", "-00:00"])))
    if "text" in made:
        made["text"] = freetext.text(made["text"])
    return ItemQuery(random_order.choice([1, 10]), **{**made, "sort": tuple(made.get("sort", ()))})


def binding(query: ItemQuery) -> str:
    random_order = item_order(query.sort)
    token = PageTokens(query, random_order).write(Position(("x",) * len(random_order.keys)))
    assert token is not None
    return token[:BINDING_LENGTH]


def meaning(query: dict[str, Any]) -> Any:
    """Return a canonical form of a query, in which the order of operands of AND and OR is irrelevant."""

    def of(condition: Any) -> Any:
        if len(condition) == 2:
            return (condition[0], tuple(sorted(map(repr, map(of, condition[1])))))
        return (*condition[:2], float(condition[2]))

    made = {**query, "sort": [(key.name, key.descending) for key in query.get("sort", ())]}
    return {**made, "filter": of(query["filter"])} if "filter" in query else made


@settings(max_examples=700)
@given(QUERIES, st.integers(0, 99), st.integers(0, 99))
def test_all_spellings_of_a_query_have_one_binding(query: dict[str, Any], seed: int, other: int) -> None:
    """Text or JSON, the order of members and operands, and repeated ids do not change the binding."""
    assert binding(spelled(query, seed)) == binding(spelled(query, other))


@settings(max_examples=700)
@given(QUERIES, QUERIES, st.integers(0, 99))
def test_queries_that_differ_have_different_bindings(query: dict[str, Any], other: dict[str, Any], seed: int) -> None:
    """Two queries have the same binding only if they are equivalent."""
    same = meaning(query) == meaning(other)
    assert (binding(spelled(query, seed)) == binding(spelled(other, seed))) == same


@settings(max_examples=500)
@given(st.text(max_size=60))
def test_an_arbitrary_text_is_not_a_token(text: str) -> None:
    """An arbitrary text is refused as a token."""
    query = ItemQuery(1, token=text)
    with pytest.raises(BadQuery, match=r"^token: "):
        PageTokens(query, item_order(())).read(lambda _collection, _item: None)

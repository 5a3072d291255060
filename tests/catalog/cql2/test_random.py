"""The compiler against a plain evaluator: random conditions, every item, all three truth values."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, assume, given, settings

from stacflask.values import Cql2
from tests.catalog.cql2 import samples
from tests.catalog.cql2.conftest import Ask, Item
from tests.catalog.cql2.reference import Unsure, evaluate, truth

ITEMS = samples.items()


@pytest.fixture(scope="module")
def ask(stored: Callable[[list[Item]], Ask]) -> Ask:
    return stored(ITEMS)


@given(expression=samples.conditions)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_condition_means_what_the_evaluator_says(ask: Ask, expression: Cql2) -> None:
    """For each item, PostgreSQL finds a condition true, false or unknown just as the evaluator does."""
    expected = {}
    for item in ITEMS:
        try:
            expected[item["id"]] = truth(evaluate(expression, item))
        except Unsure:
            assume(False)
    assert ask(expression) == expected

"""The OpenAPI document and the server: generated requests have responses that the document describes."""

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig

from stacflask import Decision, hookimpl
from stacflask.testing import a_collection, an_item
from tests.shelf import Shelf

# A request can be valid by its schema and invalid by its meaning (an interval that ends before it begins, an id that
# differs from the path), and a condition on a made-up state fails. OpenAPI cannot describe these cases.
REFUSED = ["400", "401", "403", "404", "409", "412", "413", "416", "429", "503"]
CONFIG = SchemathesisConfig.from_dict(
    {
        "checks": {
            "positive_data_acceptance": {"expected-statuses": ["2xx", "3xx", *REFUSED]},
            "negative_data_rejection": {"expected-statuses": [*REFUSED, "405", "406", "415", "428"]},
        }
    }
)
EXAMPLES = 8
PLAIN = {"Accept-Encoding": "identity"}


class Everything(Shelf):
    """Allows everything, and has every object."""

    @hookimpl
    def authorize(self) -> Decision:
        """Return a consent."""
        return Decision.allow("test")

    @hookimpl
    def authorize_change(self) -> Decision:
        """Return a consent."""
        return Decision.allow("test")


@pytest.fixture
def description(build: Callable[..., Any], publish: Callable[..., None]) -> Any:
    """Return the OpenAPI document of an application with records."""
    publish(a_collection("one", assets={"data": {"href": "s3://bucket/a"}}), an_item("it", "one"))
    return schemathesis.openapi.from_wsgi("/api", build(Everything()), config=CONFIG)


@pytest.fixture
def examples(request: pytest.FixtureRequest) -> int | None:
    """Return the number of examples of each operation; by default a few, which are always the same."""
    number: int | None = request.config.getoption("examples")
    return number


def hold(cases: Any, examples: int | None) -> int:
    """Send the requests of these cases, check the responses, and return the number of requests."""
    sent = 0

    @settings(
        max_examples=examples or EXAMPLES,
        deadline=None,
        derandomize=examples is None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def check(case: Any) -> None:
        nonlocal sent
        sent += 1
        case.call_and_validate(headers={**(case.headers or {}), **PLAIN})

    check()
    return sent


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_responses_are_as_described(
    description: Any, mode: GenerationMode, examples: int | None, record_property: Callable[[str, object], None]
) -> None:
    """For valid and invalid requests, status, type, fields and body of the response are described."""
    sent = 0
    # Names in a path and header fields can be any text, so that none is invalid.
    for operation in (result.ok() for result in description.get_all_operations()):
        if mode == GenerationMode.POSITIVE or operation.body or operation.query:
            sent += hold(operation.as_strategy(generation_mode=mode), examples)
    record_property(f"requests held to the description ({mode.value})", sent)

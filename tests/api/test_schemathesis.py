"""The description against the server: requests made of the one, answered by the other, held to it."""

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

# What is right in form may be wrong in sense (an interval that ends before it begins, another id than the address's),
# and a condition on a state that is made up does not hold: OpenAPI cannot say so.
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
    """Lets everybody do everything, and has every object."""

    @hookimpl
    def authorize(self) -> Decision:
        """Consent."""
        return Decision.allow("test")

    @hookimpl
    def authorize_change(self) -> Decision:
        """Consent."""
        return Decision.allow("test")


@pytest.fixture
def description(build: Callable[..., Any], publish: Callable[..., None]) -> Any:
    """Give the description of an application with something in it."""
    publish(a_collection("one", assets={"data": {"href": "s3://bucket/a"}}), an_item("it", "one"))
    return schemathesis.openapi.from_wsgi("/api", build(Everything()), config=CONFIG)


@pytest.fixture
def examples(request: pytest.FixtureRequest) -> int | None:
    """Give how many examples of each operation are asked for; unless asked, a few, and always the same."""
    asked: int | None = request.config.getoption("examples")
    return asked


def hold(cases: Any, examples: int | None) -> int:
    """Send such cases, and hold the answers to the description; return how many there were."""
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
def test_answers_are_as_described(
    description: Any, mode: GenerationMode, examples: int | None, record_property: Callable[[str, object], None]
) -> None:
    """Whatever is asked, right or wrong, the answer's status, type, fields and body are among those described."""
    sent = 0
    # Names in a path, and header fields, are any text: none would be wrong.
    for operation in (result.ok() for result in description.get_all_operations()):
        if mode == GenerationMode.POSITIVE or operation.body or operation.query:
            sent += hold(operation.as_strategy(generation_mode=mode), examples)
    record_property(f"requests held to the description ({mode.value})", sent)

"""Errors: each has a status, and each answer the one form."""

import inspect
import logging

import pytest

from stacflask import errors
from stacflask.api.http.errors import STATUS
from stacflask.testing import Plug

OURS = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.StacflaskError)]


@pytest.mark.parametrize("error", OURS, ids=lambda error: error.__name__)
def test_each_error_has_a_status(error: type[errors.StacflaskError]) -> None:
    """No error of the house is without its line in the table."""
    assert error in STATUS


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/no/such/path", 404, "NotFound"),
        ("DELETE", "/search", 405, "MethodNotAllowed"),
        ("GET", "/collections/none", 404, "NotFound"),
        ("GET", "/search?limit=0", 400, "InvalidParameterValue"),
        ("POST", "/search", 415, "UnsupportedMediaType"),
        ("GET", "/collections/a%00b", 400, "BadRequest"),
    ],
)
def test_every_error_has_the_one_form(plug: Plug, method: str, path: str, status: int, code: str) -> None:
    """Whoever makes an error, the framework or the house, the body has a code and a description."""
    answer = plug().open(path, method=method)
    assert answer.status_code == status
    assert answer.mimetype == "application/json"
    assert answer.json["code"] == code
    assert answer.json["description"]


def test_method_not_allowed_says_what_is(plug: Plug) -> None:
    """A 405 keeps its Allow field."""
    assert "GET" in plug().delete("/conformance").headers["Allow"]


def test_unforeseen_error_shows_nothing_and_is_logged(
    plug: Plug, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin that breaks leads to a 500 that tells nothing of why; the log has it."""
    from stacflask import hookimpl

    class Broken:
        @hookimpl
        def restrict(self, principal: object) -> None:
            raise RuntimeError("secret inside")

    client = plug(Broken())
    monkeypatch.setattr(logging.getLogger("stacflask"), "propagate", True)
    answer = client.get("/collections")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "secret inside" in caplog.text

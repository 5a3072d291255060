"""Each exception has a status, and each error response the same form."""

import inspect
import logging

import pytest

from stacflask import errors
from stacflask.api.http.errors import STATUS
from stacflask.testing import Plug

EXCEPTIONS = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.StacflaskError)]


@pytest.mark.parametrize("error", EXCEPTIONS, ids=lambda error: error.__name__)
def test_each_error_has_a_status(error: type[errors.StacflaskError]) -> None:
    """Each exception of stacflask is in the table of statuses."""
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
def test_every_error_has_the_same_form(plug: Plug, method: str, path: str, status: int, code: str) -> None:
    """Errors of the framework and of stacflask have a body with a code and a description."""
    response = plug().open(path, method=method)
    assert response.status_code == status
    assert response.mimetype == "application/json"
    assert response.json["code"] == code
    assert response.json["description"]


def test_method_not_allowed_has_the_allow_field(plug: Plug) -> None:
    """A 405 has the Allow field."""
    assert "GET" in plug().delete("/conformance").headers["Allow"]


def test_an_unexpected_error_is_logged_and_not_shown(
    plug: Plug, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a plugin raises, the response is 500 without the details, which are in the log."""
    from stacflask import hookimpl

    class Broken:
        @hookimpl
        def restrict(self, principal: object) -> None:
            raise RuntimeError("secret inside")

    client = plug(Broken())
    monkeypatch.setattr(logging.getLogger("stacflask"), "propagate", True)
    response = client.get("/collections")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "secret inside" in caplog.text

"""Error texts for clients that do not read JSON: the reason phrase of the status line, and plain text."""

from collections.abc import Callable
from typing import Any

import pytest

from stacflask import Challenge, Decision, hookimpl
from stacflask.api.http.reason_phrases import MAX_PHRASE_CHARACTERS, status_line
from stacflask.testing import an_item

Plug = Callable[..., Any]
DOWNLOAD = "/collections/collection/items/item/download/data"


class Denies:
    """Returns the same decision for every download."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision

    @hookimpl
    def authenticate(self, request: Any) -> Any:
        from stacflask import Principal

        return Principal("jane", scheme="test") if "Authorization" in request.headers else None

    @hookimpl
    def challenge(self) -> list[Challenge]:
        scheme = {"type": "http", "scheme": "bearer"}
        return [Challenge("Bearer", "test", scheme, instruction="log in at {base_url}/login")]

    @hookimpl
    def authorize(self) -> Decision:
        return self.decision


LICENCE = Decision.deny("x", detail="Licence evaluation not accepted. Accept it first.", link="/licences/evaluation")
QUOTA = Decision.deny("x", detail="Quota of 25 downloads an hour used up. Wait.", kind="exhausted", retry_after=9)
JANE = {"Authorization": "Bearer x"}


@pytest.fixture(autouse=True)
def _item(publish: Callable[..., None]) -> None:
    publish(an_item())


def test_the_reason_phrase_says_what_is_wrong(plug: Plug) -> None:
    """The status line has the first sentence of the error, for denials, quotas and wrong parameters."""
    assert plug(Denies(LICENCE)).get(DOWNLOAD, headers=JANE).status == "403 Licence evaluation not accepted"
    assert plug(Denies(QUOTA)).get(DOWNLOAD, headers=JANE).status == "429 Quota of 25 downloads an hour used up"
    client = plug()
    assert client.get("/search?bbox=1").status == "400 bbox: expected 4 or 6 numbers, got 1"
    assert client.get("/collections/nosuch").status == "404 There is no collection 'nosuch'"
    assert client.get("/search").status == "200 OK"


def test_a_401_says_how_to_authenticate(plug: Plug) -> None:
    """Without credentials, the status line and the description say how to authenticate, with a URL of this API."""
    response = plug(Denies(LICENCE)).get(DOWNLOAD)
    assert response.status == "401 Authentication required: log in at http://localhost/login"
    assert response.json["description"] == (
        "Authentication required: log in at http://localhost/login. Licence evaluation not accepted. Accept it first. "
        "See http://localhost/licences/evaluation."
    )


def test_plain_text_for_clients_that_do_not_accept_json(plug: Plug) -> None:
    """An error is plain text if the client accepts that and not JSON; otherwise it is JSON."""
    client = plug(Denies(LICENCE))
    expected = {
        "text/plain": "text/plain",
        "text/plain, image/*": "text/plain",
        "text/plain;q=0.5": "text/plain",
        "text/plain; charset=utf-8": "text/plain",
        "text/plain;charset=utf-8, application/json;charset=utf-8": "application/json",
        "text/*": "text/plain",
        "text/plain, application/json;q=0": "text/plain",
        "text/plain, application/json;q=0.1": "application/json",
        "text/plain, */*": "application/json",
        "*/*": "application/json",
        "image/tiff": "application/json",
        "text/plain;q=0": "application/json",
        "": "application/json",
    }
    for accept, media_type in expected.items():
        response = client.get(DOWNLOAD, headers={**JANE, "Accept": accept})
        assert (response.status_code, response.mimetype) == (403, media_type), accept
    response = client.get(DOWNLOAD, headers={**JANE, "Accept": "text/plain"})
    assert response.text == (
        "Licence evaluation not accepted. Accept it first. See http://localhost/licences/evaluation.\n"
        "http://localhost/licences/evaluation\n"
    )


@pytest.mark.parametrize(
    ("description", "line"),
    [
        ("Not here.", "400 Not here"),
        ("a\r\nSet-Cookie: b", "400 a Set-Cookie: b"),
        ("a\x00\x1b[31mb\x85c", "400 a?[31mb c"),
        ("Größe 衛星", "400 Gr?e ?"),
        ("/features/0: expected 1.5 m. Sorry.", "400 /features/0: expected 1.5 m"),
        ("Which one? That one.", "400 Which one"),
        ("", "400 Bad Request"),
        (". x", "400 Bad Request"),
        ("x" * 5_000, f"400 {'x' * (MAX_PHRASE_CHARACTERS - 3)}..."),
    ],
)
def test_a_reason_phrase_is_one_short_line_of_ascii(description: str, line: str) -> None:
    """A reason phrase has no line break and no control character, and is at most 150 characters long."""
    assert status_line(400, description) == line


def test_names_in_a_path_cannot_break_the_status_line(plug: Plug) -> None:
    """A name that a client sends, and an error repeats, cannot add lines to the response."""
    response = plug().get("/collections/a%0d%0aX-Injected:%20b%C3%A4")
    assert response.status_code == 404
    assert "X-Injected" not in response.headers
    assert all(" " <= letter <= "~" for letter in response.status)


def test_an_unexpected_error_has_no_details_in_its_reason_phrase(plug: Plug) -> None:
    """The reason phrase of an unexpected error has no details of the exception."""

    class Breaks(Denies):
        @hookimpl
        def authorize(self) -> Decision:
            raise RuntimeError("secret")

    response = plug(Breaks(LICENCE)).get(DOWNLOAD, headers=JANE)
    assert (response.status_code, "secret" in response.status + response.text) == (500, False)

"""States of items and collections: ETag, 304, If-Match, and what changes have to say about them."""

import gzip
from collections.abc import Callable
from typing import Any

import pytest

from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
Client = Any
ITEM, COLLECTION = "/collections/collection/items/item", "/collections/collection"
PATHS = pytest.mark.parametrize("path", [ITEM, COLLECTION])
LONG = "x" * 1000


@pytest.fixture(autouse=True)
def _there(publish: Publish) -> None:
    publish(a_collection(title=LONG), an_item(properties={"datetime": "2024-01-01T00:00:00Z", "title": LONG}))


def etag(client: Client, path: str, **headers: str) -> str:
    tag: str = client.get(path, headers=headers).headers["ETag"]
    return tag


@PATHS
def test_state_is_known_by_its_etag(editor: Client, path: str) -> None:
    """A strong ETag comes with the record, stays as long as it does, and changes with it."""
    before = etag(editor, path)
    assert before == etag(editor, path)
    assert not before.startswith("W/")
    assert editor.patch(path, json={"x": 1}).headers["ETag"] == etag(editor, path) != before
    editor.patch(path, json={"x": None})
    assert etag(editor, path) == before


@PATHS
def test_known_state_is_304(editor: Client, path: str) -> None:
    """Who has the present state gets 304 with nothing, weakly compared; who has another, all of it."""
    tag = etag(editor, path)
    for known in (tag, f"W/{tag}", f'"a", {tag}', "*"):
        answer = editor.get(path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.data, answer.headers["ETag"]) == (304, b"", tag), known
        assert editor.head(path, headers={"If-None-Match": known}).status_code == 304
    assert editor.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    for nothing in ("", '""', 'W/""', ",", '"'):
        assert editor.get(path, headers={"If-None-Match": nothing}).status_code == 200, nothing


@PATHS
def test_compressed_has_its_own_etag(editor: Client, path: str) -> None:
    """The compressed form is another representation: its ETag differs, and is good for 304 and for changes."""
    plain, coded = etag(editor, path), etag(editor, path, **{"Accept-Encoding": "gzip"})
    assert plain != coded
    answer = editor.get(path, headers={"Accept-Encoding": "gzip", "If-None-Match": coded})
    assert (answer.status_code, answer.headers["ETag"], answer.data) == (304, coded, b"")
    assert editor.get(path, headers={"If-Match": coded}).status_code == 200
    assert editor.patch(path, json={"x": 1}, headers={"If-Match": coded}).status_code == 204
    assert editor.patch(path, json={"x": 2}, headers={"If-Match": coded}).status_code == 412


@PATHS
def test_reading_another_state_is_412(editor: Client, path: str) -> None:
    """GET with the ETag of another state in If-Match is 412 in the usual form."""
    answer = editor.get(path, headers={"If-Match": '"other"'})
    assert (answer.status_code, answer.json["code"]) == (412, "PreconditionFailed")
    assert editor.get(path, headers={"If-Match": "*"}).status_code == 200


@PATHS
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_changing_another_state_is_412(editor: Client, path: str, method: str) -> None:
    """A change that is meant for another state is not made; one meant for the present is."""
    document = editor.get(path).json
    body = {} if method == "DELETE" else {"json": document if method == "PUT" else {"x": 1}}
    tag = etag(editor, path)
    for other in ('"other"', f"W/{tag}", "", '""', tag.strip('"')[1:]):
        answer = editor.open(path, method=method, headers={"If-Match": other}, **body)
        assert (answer.status_code, answer.json["code"]) == (412, "PreconditionFailed"), other
    assert editor.get(path).json == document
    force = "?force=true" if method == "DELETE" and path == COLLECTION else ""
    assert (
        editor.open(f"{path}{force}", method=method, headers={"If-Match": f'"other", {tag}'}, **body).status_code == 204
    )


def test_star_matches_what_is_there(editor: Client) -> None:
    """If-Match: * is any state, and If-None-Match: * is none: it keeps a PUT from replacing."""
    item = editor.get(ITEM).json
    assert editor.put(ITEM, json=item, headers={"If-Match": "*"}).status_code == 204
    assert editor.put(ITEM, json=item, headers={"If-None-Match": "*"}).status_code == 412
    assert editor.put(f"{ITEM}2", json=item, headers={"If-Match": "*"}).status_code == 404


@PATHS
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_if_match_may_be_demanded(edit: Callable[..., Client], path: str, method: str) -> None:
    """A deployment may ask for If-Match with each change: 428 without. Creating needs none."""
    editor = edit(STACFLASK_REQUIRE_IF_MATCH="true")
    document = editor.get(path).json
    body = {} if method == "DELETE" else {"json": document if method == "PUT" else {"x": 1}}
    answer = editor.open(path, method=method, **body)
    assert (answer.status_code, answer.json["code"]) == (428, "PreconditionRequired")
    force = "?force=true" if method == "DELETE" and path == COLLECTION else ""
    headers = {"If-Match": etag(editor, path)}
    assert editor.open(f"{path}{force}", method=method, headers=headers, **body).status_code == 204
    assert editor.post("/collections", json=a_collection("new")).status_code == 201


def test_etag_belongs_to_the_address(plug: Callable[..., Client]) -> None:
    """Under another public address the links differ, so the ETag does."""
    here, there = plug(), plug(environ={"STACFLASK_PUBLIC_URL": "https://stac.example.org"})
    assert etag(here, ITEM) != etag(there, ITEM)


@pytest.mark.parametrize(
    "path", ["/", "/conformance", "/collections", "/api", "/api/static/swagger-ui.css", "/api/static/start.js"]
)
def test_other_documents_have_etags_too(client: Client, path: str) -> None:
    """Whatever changes seldom is answered 304 to whoever has it, compressed or not, and 412 in the usual form."""
    for coding in ("identity", "gzip"):
        first = client.get(path, headers={"Accept-Encoding": coding})
        headers = {"Accept-Encoding": coding, "If-None-Match": first.headers["ETag"]}
        again = client.get(path, headers=headers)
        assert (again.status_code, again.headers["ETag"], again.data) == (304, first.headers["ETag"], b"")
    answer = client.get(path, headers={"If-Match": '"other"'})
    assert (answer.status_code, answer.json["code"]) == (412, "PreconditionFailed")


def test_two_editors_at_once(build: Callable[..., Any], publish: Publish) -> None:
    """Of two who change the same state at once, exactly one succeeds and the other is told."""
    import threading

    from stacflask import Decision, hookimpl

    class Leave:
        @hookimpl
        def authorize_change(self) -> Decision:
            return Decision.allow("test")

    app = build(Leave())
    for round_number in range(5):
        tag = etag(app.test_client(), ITEM)
        answers: list[int] = []
        gate = threading.Barrier(4)

        def change(name: str, tag: str = tag, gate: threading.Barrier = gate, answers: list[int] = answers) -> None:
            client = app.test_client()
            gate.wait()
            body = {"properties": {"by": name}}
            answers.append(client.patch(ITEM, json=body, headers={"If-Match": tag}).status_code)

        editors = [threading.Thread(target=change, args=(f"{number}-{round_number}",)) for number in range(4)]
        for one in editors:
            one.start()
        for one in editors:
            one.join()
        assert sorted(answers) == [204, 412, 412, 412]


def test_compressed_is_the_same(editor: Client) -> None:
    """What comes compressed is what comes plain."""
    plain, coded = editor.get(ITEM), editor.get(ITEM, headers={"Accept-Encoding": "gzip"})
    assert coded.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(coded.data) == plain.data

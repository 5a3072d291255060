"""Conditional requests for items and collections: ETag, 304, If-Match, If-None-Match."""

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
def _catalogue(publish: Publish) -> None:
    publish(a_collection(title=LONG), an_item(properties={"datetime": "2024-01-01T00:00:00Z", "title": LONG}))


def etag(client: Client, path: str, **headers: str) -> str:
    tag: str = client.get(path, headers=headers).headers["ETag"]
    return tag


@PATHS
def test_the_etag_changes_with_the_record(editor: Client, path: str) -> None:
    """A record has a strong ETag, which changes if and only if the record changes."""
    before = etag(editor, path)
    assert before == etag(editor, path)
    assert not before.startswith("W/")
    assert editor.patch(path, json={"x": 1}).headers["ETag"] == etag(editor, path) != before
    editor.patch(path, json={"x": None})
    assert etag(editor, path) == before


@PATHS
def test_a_client_with_the_current_state_gets_304(editor: Client, path: str) -> None:
    """A client with the current state gets 304 without a body, by weak comparison; other clients get the record."""
    tag = etag(editor, path)
    for cached in (tag, f"W/{tag}", f'"a", {tag}', "*"):
        response = editor.get(path, headers={"If-None-Match": cached})
        assert (response.status_code, response.data, response.headers["ETag"]) == (304, b"", tag), cached
        assert editor.head(path, headers={"If-None-Match": cached}).status_code == 304
    assert editor.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    for nothing in ("", '""', 'W/""', ",", '"'):
        assert editor.get(path, headers={"If-None-Match": nothing}).status_code == 200, nothing


@PATHS
def test_the_compressed_form_has_an_etag_of_its_own(editor: Client, path: str) -> None:
    """The compressed form is another representation: its ETag differs, and works for 304 and for changes."""
    plain, coded = etag(editor, path), etag(editor, path, **{"Accept-Encoding": "gzip"})
    assert plain != coded
    response = editor.get(path, headers={"Accept-Encoding": "gzip", "If-None-Match": coded})
    assert (response.status_code, response.headers["ETag"], response.data) == (304, coded, b"")
    assert editor.get(path, headers={"If-Match": coded}).status_code == 200
    assert editor.patch(path, json={"x": 1}, headers={"If-Match": coded}).status_code == 204
    assert editor.patch(path, json={"x": 2}, headers={"If-Match": coded}).status_code == 412


@PATHS
def test_reading_another_state_is_412(editor: Client, path: str) -> None:
    """GET with the ETag of another state in If-Match is 412."""
    response = editor.get(path, headers={"If-Match": '"other"'})
    assert (response.status_code, response.json["code"]) == (412, "PreconditionFailed")
    assert editor.get(path, headers={"If-Match": "*"}).status_code == 200


@PATHS
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_changing_another_state_is_412(editor: Client, path: str, method: str) -> None:
    """A change with the ETag of another state in If-Match is 412; with the current ETag it succeeds."""
    document = editor.get(path).json
    body = {} if method == "DELETE" else {"json": document if method == "PUT" else {"x": 1}}
    tag = etag(editor, path)
    for other in ('"other"', f"W/{tag}", "", '""', tag.strip('"')[1:]):
        response = editor.open(path, method=method, headers={"If-Match": other}, **body)
        assert (response.status_code, response.json["code"]) == (412, "PreconditionFailed"), other
    assert editor.get(path).json == document
    force = "?force=true" if method == "DELETE" and path == COLLECTION else ""
    assert (
        editor.open(f"{path}{force}", method=method, headers={"If-Match": f'"other", {tag}'}, **body).status_code == 204
    )


def test_star_matches_any_state(editor: Client) -> None:
    """If-Match: * matches any state; If-None-Match: * makes a PUT of an existing item fail with 412."""
    item = editor.get(ITEM).json
    assert editor.put(ITEM, json=item, headers={"If-Match": "*"}).status_code == 204
    assert editor.put(ITEM, json=item, headers={"If-None-Match": "*"}).status_code == 412
    assert editor.put(f"{ITEM}2", json=item, headers={"If-Match": "*"}).status_code == 404


@PATHS
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_setting_requires_if_match(edit: Callable[..., Client], path: str, method: str) -> None:
    """If a setting requires If-Match, changes without it are 428. Creating needs no If-Match."""
    editor = edit(STACFLASK_REQUIRE_IF_MATCH="true")
    document = editor.get(path).json
    body = {} if method == "DELETE" else {"json": document if method == "PUT" else {"x": 1}}
    response = editor.open(path, method=method, **body)
    assert (response.status_code, response.json["code"]) == (428, "PreconditionRequired")
    force = "?force=true" if method == "DELETE" and path == COLLECTION else ""
    headers = {"If-Match": etag(editor, path)}
    assert editor.open(f"{path}{force}", method=method, headers=headers, **body).status_code == 204
    assert editor.post("/collections", json=a_collection("new")).status_code == 201


def test_the_etag_depends_on_the_public_url(plug: Callable[..., Client]) -> None:
    """With another public URL the links differ, and so does the ETag."""
    here, there = plug(), plug(environ={"STACFLASK_PUBLIC_URL": "https://stac.example.org"})
    assert etag(here, ITEM) != etag(there, ITEM)


@pytest.mark.parametrize(
    "path", ["/", "/conformance", "/collections", "/api", "/api/static/swagger-ui.css", "/api/static/start.js"]
)
def test_other_documents_have_etags_too(client: Client, path: str) -> None:
    """Documents and static files are 304 for clients that have them, compressed or not, and 412 by If-Match."""
    for coding in ("identity", "gzip"):
        first = client.get(path, headers={"Accept-Encoding": coding})
        headers = {"Accept-Encoding": coding, "If-None-Match": first.headers["ETag"]}
        again = client.get(path, headers=headers)
        assert (again.status_code, again.headers["ETag"], again.data) == (304, first.headers["ETag"], b"")
    response = client.get(path, headers={"If-Match": '"other"'})
    assert (response.status_code, response.json["code"]) == (412, "PreconditionFailed")


def test_one_of_several_concurrent_changes_succeeds(build: Callable[..., Any], publish: Publish) -> None:
    """Of four concurrent changes with the same If-Match, one succeeds and three get 412."""
    import threading

    from stacflask import Decision, hookimpl

    class Writable:
        @hookimpl
        def authorize_change(self) -> Decision:
            return Decision.allow("test")

    app = build(Writable())
    for round_number in range(5):
        tag = etag(app.test_client(), ITEM)
        responses: list[int] = []
        gate = threading.Barrier(4)

        def change(name: str, tag: str = tag, gate: threading.Barrier = gate, responses: list[int] = responses) -> None:
            client = app.test_client()
            gate.wait()
            body = {"properties": {"by": name}}
            responses.append(client.patch(ITEM, json=body, headers={"If-Match": tag}).status_code)

        editors = [threading.Thread(target=change, args=(f"{number}-{round_number}",)) for number in range(4)]
        for thread in editors:
            thread.start()
        for thread in editors:
            thread.join()
        assert sorted(responses) == [204, 412, 412, 412]


def test_the_compressed_body_is_the_plain_body(editor: Client) -> None:
    """The compressed body, decompressed, is the plain body."""
    plain, coded = editor.get(ITEM), editor.get(ITEM, headers={"Accept-Encoding": "gzip"})
    assert coded.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(coded.data) == plain.data

"""Deletion of collections with many items: in batches, by command and by request."""

from collections.abc import Callable
from typing import Any

import pytest

from stacflask.catalog import deletion
from stacflask.cli import run
from stacflask.testing import a_collection, an_item
from tests.api.conftest import Leave

Publish = Callable[..., None]
Plug = Callable[..., Any]


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a batch have two items."""
    monkeypatch.setattr(deletion, "BATCH", 2)


@pytest.fixture
def seven(publish: Publish, few_at_once: None) -> None:
    """Put seven items into a collection, and one into another."""
    publish(*(an_item(str(number)) for number in range(7)), an_item("other", collection="others"))


def ids(client: Any, collection: str = "collection") -> set[str]:
    answer = client.get(f"/collections/{collection}/items?limit=100")
    return {item["id"] for item in answer.json["features"]}


def test_the_command_deletes_all(
    plug: Plug, seven: None, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`stacflask delete` deletes a collection with its items and no other's, and says how far it is."""
    assert run(["delete", "--yes", "collection"], {"DATABASE_URL": database_url}) == 0
    out, err = capsys.readouterr()
    assert out == "collection: 7 items deleted\n"
    assert "collection: 4 items so far" in err
    client = plug()
    assert client.get("/collections/collection").status_code == 404
    assert ids(client, "others") == {"other"}


def test_the_command_keeps_the_collection_if_asked(plug: Plug, seven: None, database_url: str) -> None:
    """With --keep-collection the items go and the collection stays."""
    assert run(["delete", "--yes", "--keep-collection", "collection"], {"DATABASE_URL": database_url}) == 0
    client = plug()
    assert (client.get("/collections/collection").status_code, ids(client)) == (200, set())


def test_the_command_can_be_run_again(plug: Plug, seven: None, database: Any, database_url: str) -> None:
    """A deletion that was cut short leaves whole items, and the next run goes on."""
    begun = deletion.delete(database, "collection", deletion.locked("collection"))
    assert next(begun) == 2
    del begun
    assert len(ids(plug())) == 5
    assert run(["delete", "--yes", "collection"], {"DATABASE_URL": database_url}) == 0
    assert plug().get("/collections/collection").status_code == 404


def test_the_command_names_what_is_not_there(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A collection that does not exist is an error in one line."""
    assert run(["delete", "--yes", "none"], {"DATABASE_URL": database_url}) == 2
    assert capsys.readouterr().err == "error: There is no collection 'none'.\n"


def test_a_request_deletes_all_that_its_time_allows(plug: Plug, seven: None) -> None:
    """Where time does not suffice the answer is a 503 that says how to go on, and the same request goes on."""
    editor = plug(Leave(), environ={"STACFLASK_STATEMENT_TIMEOUT": "0.000001"})
    patient = plug(Leave())
    answer = editor.delete("/collections/collection?force=true")
    assert (answer.status_code, answer.json["code"]) == (503, "DeletionUnfinished")
    assert int(answer.headers["Retry-After"]) > 0
    assert 0 < len(ids(patient)) < 7
    assert patient.delete("/collections/collection?force=true").status_code == 204
    assert patient.get("/collections/collection").status_code == 404


def test_what_fits_a_batch_goes_whole(plug: Plug, publish: Publish) -> None:
    """A small collection is deleted in one transaction with its items, and only if that is forced."""
    publish(a_collection(), an_item())
    editor = plug(Leave())
    assert editor.delete("/collections/collection").json["code"] == "CollectionNotEmpty"
    assert editor.delete("/collections/collection?force=true").status_code == 204

"""Deletion of collections with many items in batches, by command and by request."""

from collections.abc import Callable
from typing import Any

import pytest

from stacflask.catalog import deletion
from stacflask.cli import run
from stacflask.testing import a_collection, an_item
from tests.api.conftest import AllowChanges

Publish = Callable[..., None]
Plug = Callable[..., Any]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the size of a batch to two items."""
    monkeypatch.setattr(deletion, "BATCH", 2)


@pytest.fixture
def seven_items(publish: Publish, small_batches: None) -> None:
    """Publish seven items in one collection, and one in another."""
    publish(*(an_item(str(number)) for number in range(7)), an_item("other", collection="others"))


def ids(client: Any, collection: str = "collection") -> set[str]:
    answer = client.get(f"/collections/{collection}/items?limit=100")
    return {item["id"] for item in answer.json["features"]}


def test_the_command_deletes_a_collection_and_its_items(
    plug: Plug, seven_items: None, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """``stacflask delete`` deletes a collection with its items, no others, and reports its progress."""
    assert run(["delete", "--yes", "collection"], {"DATABASE_URL": database_url}) == 0
    out, err = capsys.readouterr()
    assert out == "collection: 7 items deleted\n"
    assert "collection: 4 items so far" in err
    client = plug()
    assert client.get("/collections/collection").status_code == 404
    assert ids(client, "others") == {"other"}


def test_keep_collection_deletes_only_the_items(plug: Plug, seven_items: None, database_url: str) -> None:
    """With ``--keep-collection``, only the items are deleted."""
    assert run(["delete", "--yes", "--keep-collection", "collection"], {"DATABASE_URL": database_url}) == 0
    client = plug()
    assert (client.get("/collections/collection").status_code, ids(client)) == (200, set())


def test_an_interrupted_deletion_can_be_repeated(
    plug: Plug, seven_items: None, database: Any, database_url: str
) -> None:
    """An interrupted deletion leaves complete items, and the next command deletes them."""
    unfinished = deletion.delete(database, "collection", deletion.locked("collection"))
    assert next(unfinished) == 2
    del unfinished
    assert len(ids(plug())) == 5
    assert run(["delete", "--yes", "collection"], {"DATABASE_URL": database_url}) == 0
    assert plug().get("/collections/collection").status_code == 404


def test_a_missing_collection_is_an_error(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing collection is an error in one line."""
    assert run(["delete", "--yes", "none"], {"DATABASE_URL": database_url}) == 2
    assert capsys.readouterr().err == "error: There is no collection 'none'.\n"


def test_a_request_that_runs_out_of_time_can_be_repeated(plug: Plug, seven_items: None) -> None:
    """A request that runs out of time returns 503 with ``Retry-After``, and the same request continues the deletion."""
    editor = plug(AllowChanges(), environ={"STACFLASK_STATEMENT_TIMEOUT": "0.000001"})
    unlimited = plug(AllowChanges())
    answer = editor.delete("/collections/collection?force=true")
    assert (answer.status_code, answer.json["code"]) == (503, "DeletionUnfinished")
    assert int(answer.headers["Retry-After"]) > 0
    assert 0 < len(ids(unlimited)) < 7
    assert unlimited.delete("/collections/collection?force=true").status_code == 204
    assert unlimited.get("/collections/collection").status_code == 404


def test_a_small_collection_is_deleted_in_one_transaction(plug: Plug, publish: Publish) -> None:
    """A small collection is deleted with its items in one transaction, and only with ``force``."""
    publish(a_collection(), an_item())
    editor = plug(AllowChanges())
    assert editor.delete("/collections/collection").json["code"] == "CollectionNotEmpty"
    assert editor.delete("/collections/collection?force=true").status_code == 204

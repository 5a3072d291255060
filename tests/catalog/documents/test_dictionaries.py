"""Missing and damaged dictionaries: checks find them, and an export leaves out their documents."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from stacflask.catalog.bulk.load import Plan, load
from stacflask.catalog.database.engine import Database
from stacflask.catalog.documents.documents import Managed
from stacflask.settings import Settings
from stacflask.testing import Plug, Publish, a_collection, an_item

ROOT = Path(__file__).parents[3]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

DAMAGES = {
    "lost": "DELETE FROM dictionaries WHERE collection = 'a'",
    "overwritten": "UPDATE dictionaries SET data = 'no dictionary' WHERE collection = 'a'",
    "cut": "UPDATE dictionaries SET data = substring(data FROM 1 FOR 2000) WHERE collection = 'a'",
    "wrong tables": "UPDATE dictionaries SET data = overlay(data PLACING decode(repeat('ff', 60), 'hex') FROM 12)"
    " WHERE collection = 'a'",
    "wrong content": "UPDATE dictionaries SET data = substring(data FROM 1 FOR 500) || decode(repeat('41', "
    "octet_length(data) - 500), 'hex') WHERE collection = 'a'",
}


@pytest.fixture(params=DAMAGES)
def damaged(request: Any, database: Database, database_url: str, tmp_path: Path) -> None:
    """Load two collections, and delete or damage the dictionary of one."""
    documents = [a_collection("a"), a_collection("b")]
    for collection in ("a", "b"):
        documents += [an_item(f"item-{number}", collection, extra={"text": "x" * number}) for number in range(250)]
    (tmp_path / "all.ndjson").write_text("\n".join(map(json.dumps, documents)))
    url = Settings.from_environ({"DATABASE_URL": database_url}).database_url
    assert load([str(tmp_path / "all.ndjson")], Plan(url, Managed()), print).new == 500
    with database.write() as connection:
        connection.execute(sa.text(DAMAGES[request.param]))


@pytest.fixture
def run(database_url: str) -> Run:
    """Return a function that runs a command."""

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "stacflask", *arguments]
        environ = {"DATABASE_URL": database_url, "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)

    return run


@pytest.mark.usefixtures("damaged")
def test_an_export_leaves_out_documents_that_cannot_be_read(run: Run) -> None:
    """An export writes the other documents, names the dictionary, and fails with an exit code."""
    done = run("export")
    assert done.returncode == 1
    written = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(written) == 252
    assert {one["collection"] for one in written[2:]} == {"b"}
    assert "error: collection 'a': 250 documents left out: " in done.stderr
    assert "dictionary " in done.stderr


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("option", [(), ("--every-item",)])
def test_check_names_the_dictionary(run: Run, option: tuple[str, ...]) -> None:
    """The command ``check`` fails and names collection and dictionary."""
    done = run("check", *option)
    assert done.returncode != 0
    assert "error: collection 'a': dictionary " in done.stderr
    assert "collection 'b'" not in done.stderr


@pytest.mark.usefixtures("damaged")
def test_the_server_is_not_ready(plug: Plug) -> None:
    """The readiness check reports the dictionary."""
    client = plug()
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json["code"]) == (503, "DictionaryLost")
    answer = client.get("/collections/a/items/item-1")
    assert answer.status_code == 500
    assert answer.json["code"] in ("DictionaryLost", "DocumentDamaged")
    assert client.get("/collections/b/items").status_code == 200


@pytest.mark.parametrize("damage", ["''", "substring(body FROM 1 FOR 20)", "overlay(body PLACING 'xxxx' FROM 20)"])
def test_a_damaged_document_is_named(database: Database, publish: Publish, run: Run, plug: Plug, damage: str) -> None:
    """A damaged document makes a check fail, and requests for this document."""
    publish(an_item("item-1", "a"), an_item("item-2", "a"))
    with database.write() as connection:
        connection.execute(sa.text(f"UPDATE items SET body = {damage} WHERE id = 'item-1'"))
    done = run("check")
    assert done.returncode != 0
    assert "error: collection 'a': 1 documents are damaged" in done.stderr
    assert "Traceback" not in done.stderr
    done = run("export")
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 2)
    client = plug()
    assert client.get("/health/ready").status_code == 200
    assert client.get("/collections/a/items/item-1").json["code"] == "DocumentDamaged"
    assert client.get("/collections/a/items/item-2").status_code == 200


def test_an_empty_catalogue_has_all_dictionaries(database: Database, run: Run, plug: Plug) -> None:
    """An empty catalogue passes the check and is ready."""
    done = run("check")
    assert (done.returncode, "dictionaries: complete" in done.stdout) == (0, True)
    assert plug().get("/health/ready").status_code == 200

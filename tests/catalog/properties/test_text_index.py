"""The index for free text: commands create it, searches use it, migrations ignore it."""

import os
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from stacflask import cli
from stacflask.catalog.database.engine import Database
from stacflask.catalog.database.tables import items
from stacflask.catalog.properties import text_index
from stacflask.catalog.search.freetext import in_items
from stacflask.testing import an_item

Publish = Callable[..., None]
Index = Callable[..., list[str]]


@pytest.fixture
def index(database: Database, database_url: str, capsys: pytest.CaptureFixture[str]) -> Iterator[Index]:
    """Run ``stacflask index`` with these arguments and return the lines of its output. Drop the index afterwards."""

    def run(*words: str, code: int = 0) -> list[str]:
        assert cli.run(["index", *words], {**os.environ, "DATABASE_URL": database_url}) == code
        output = capsys.readouterr()
        return (output.out + output.err).splitlines()

    yield run
    text_index.drop(database)


def found(database: Database, *, by_index: bool) -> tuple[list[str], str]:
    """Return the ids that a text finds, and the plan."""
    statement = sa.select(items.c.id).where(in_items(("and", "GROSSE eis", ("not", "fire")))).order_by(items.c.id)
    with database.write() as connection:
        connection.execute(sa.text(f"SET LOCAL enable_seqscan = {'off' if by_index else 'on'}"))
        text = str(statement.compile(connection, compile_kwargs={"literal_binds": True})).replace("%", "%%")
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {text}", ()).scalars())
        return list(connection.execute(statement).scalars()), plan


def test_a_text_index_is_created_used_and_dropped(database: Database, publish: Publish, index: Index) -> None:
    """With the index, a text finds the same items by the index. Commands list and drop the index."""
    time = {"datetime": "2024-06-01T12:00:00Z"}
    publish(an_item("a", properties={**time, "title": "Das große Eis"}), an_item("snow-1"), an_item("other"))
    without, _ = found(database, by_index=True)
    assert index("add", "--text") == ["free text: indexed"]
    assert index("add", "--text") == ["free text: indexed already"]
    names, plan = found(database, by_index=True)
    assert names == without == ["a"]
    assert text_index.LABEL in plan
    assert index("list")[0].startswith("free text: ")
    assert index("drop", "--text") == ["free text: dropped the index"]
    assert index("list") == []


def test_migrations_ignore_the_text_index(index: Index, database_url: str) -> None:
    """Alembic does not report the index as missing in the code."""
    from tests.catalog.database.test_migrations import alembic, done

    index("add", "--text")
    assert "No new upgrade operations detected" in done(alembic(database_url, "check"))


def test_drop_without_a_name_is_refused(index: Index) -> None:
    """``drop`` without a name fails and shows the options."""
    assert any("--text" in line for line in index("drop", code=2))

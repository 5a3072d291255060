"""The index for free text: made by command, used by searches, and left alone by migrations."""

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
    """Run ``stacflask index`` with these words and give the lines it says; what is made goes at the end."""

    def run(*words: str, code: int = 0) -> list[str]:
        assert cli.run(["index", *words], {**os.environ, "DATABASE_URL": database_url}) == code
        said = capsys.readouterr()
        return (said.out + said.err).splitlines()

    yield run
    text_index.drop(database)


def found(database: Database, *, by_index: bool) -> tuple[list[str], str]:
    """Give what a text finds, and how."""
    statement = sa.select(items.c.id).where(in_items(("and", "GROSSE eis", ("not", "fire")))).order_by(items.c.id)
    with database.write() as connection:
        connection.execute(sa.text(f"SET LOCAL enable_seqscan = {'off' if by_index else 'on'}"))
        text = str(statement.compile(connection, compile_kwargs={"literal_binds": True})).replace("%", "%%")
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {text}", ()).scalars())
        return list(connection.execute(statement).scalars()), plan


def test_it_is_made_used_and_dropped(database: Database, publish: Publish, index: Index) -> None:
    """With the index a text finds the same, by the index; the list tells of it, and it goes as it came."""
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


def test_migrations_leave_it_alone(index: Index, database_url: str) -> None:
    """Alembic takes the index for an operator's own, and has nothing to say about it."""
    from tests.catalog.database.test_migrations import alembic, done

    index("add", "--text")
    assert "No new upgrade operations detected" in done(alembic(database_url, "check"))


def test_nothing_named_is_nothing_dropped(index: Index) -> None:
    """Without a name there is nothing to drop, and that is said."""
    assert any("--text" in line for line in index("drop", code=2))

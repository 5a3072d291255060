"""How PostgreSQL answers a statement by one index, with nothing left to what it holds for cheap at the moment."""

import sqlalchemy as sa

from stacflask.catalog.database.engine import Database

OFF = ("enable_seqscan", "enable_sort", "enable_incremental_sort")
OTHERS = sa.text(
    "SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid "
    "WHERE i.indrelid = 'items'::regclass AND NOT i.indisprimary AND c.relname <> :index"
)


def plan_by(database: Database, index: str, statement: sa.Select[tuple[bytes]]) -> str:
    """Give the plan where this index and the primary key are all there is, and reading the whole table no way out.

    Which of several indexes is the cheapest depends on what the tables' statistics say by now, and on what lay in the
    tables before: no test can say that. Whether an index can answer at all does not.
    """
    with database.write() as connection:
        trial = connection.begin_nested()
        for setting in OFF:
            connection.execute(sa.text(f"SET LOCAL {setting} = off"))
        for other in connection.execute(OTHERS, {"index": index}).scalars().all():
            connection.execute(sa.text(f'DROP INDEX "{other}"'))
        text = str(statement.compile(connection, compile_kwargs={"literal_binds": True})).replace("%", "%%")
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {text}", ()).scalars())
        trial.rollback()
    return plan

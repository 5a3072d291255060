"""Query plans of PostgreSQL with one index, independent of its cost estimates."""

import sqlalchemy as sa

from stacflask.catalog.database.engine import Database

OFF = ("enable_seqscan", "enable_sort", "enable_incremental_sort")
OTHERS = sa.text(
    "SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid "
    "WHERE i.indrelid = 'items'::regclass AND NOT i.indisprimary AND c.relname <> :index"
)


def plan_by(database: Database, index: str, statement: sa.Select[tuple[bytes]]) -> str:
    """Return the plan if only this index and the primary key exist, and sequential scans are disabled.

    Which of several indexes is the cheapest depends on the tables' statistics and earlier contents, so no test can
    predict it. Whether an index can serve a statement does not depend on them.
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

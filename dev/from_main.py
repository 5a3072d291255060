"""`python -m dev.from_main`: rename what a database has from the migrations before 0.1.0, as revision 0001 names it.

DATABASE_URL names the database, which must be at revision 0024 of those migrations. All or nothing is changed. Indexes
by time that `stacflask index add` created are dropped with the function that they use. `stacflask migrate` then adopts
the tables of plugins. Release 0.1.0 removes this module.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import psycopg
from psycopg import sql

FIRST = Path(__file__).parents[1] / "alembic" / "versions" / "0001_first.py"

TABLES = {
    "plugin_audit": "plugin_audit_events",
    "plugin_audit_taken": "plugin_audit_store_requests",
    "plugin_collection_groups": "plugin_collection_groups_grants",
    "plugin_licences": "plugin_licence_versions",
    "plugin_link_openings": "plugin_links_openings",
}
COLUMNS = {
    ("collections", "lowest"): "min_height",
    ("collections", "highest"): "max_height",
    ("collections", "periods"): "intervals",
    ("collections", "words"): "search_text",
    ("collections", "longest"): "max_duration_seconds",
    ("collections", "dated"): "has_datetimes",
    ("items", "lowest"): "min_height",
    ("items", "highest"): "max_height",
    ("statistics", "anew"): "refreshing",
    ("plugin_links", "maker"): "principal",
    ("plugin_links", "made"): "created",
    ("plugin_links_openings", "taken"): "bytes",
    ("plugin_quota_openings", "taken"): "bytes",
}
INDEXES = {
    "collections_longest_idx": "collections_max_duration_seconds_idx",
    "plugin_audit_at": "plugin_audit_events_at_idx",
    "plugin_audit_taken_at": "plugin_audit_store_requests_at_idx",
    "plugin_audit_taken_pkey": "plugin_audit_store_requests_pkey",
    "plugin_collection_groups_collection_idx": "plugin_collection_groups_grants_collection_idx",
    "plugin_collection_groups_pkey": "plugin_collection_groups_grants_pkey",
    "plugin_licences_pkey": "plugin_licence_versions_pkey",
    "plugin_link_openings_pkey": "plugin_links_openings_pkey",
    "plugin_links_maker_idx": "plugin_links_principal_idx",
    "plugin_orders_waiting": "plugin_orders_not_ready_idx",
}
CONSTRAINTS = {
    (
        "plugin_collection_groups_grants",
        "plugin_collection_groups_plugin_collection_groups_actio_18dc",
    ): "plugin_collection_groups_grants_action_check",
    ("plugin_links", "plugin_links_plugin_links_used_check_check"): "plugin_links_used_check",
    ("plugin_links_openings", "plugin_link_openings_link_fkey"): "plugin_links_openings_link_fkey",
}
FUNCTIONS = {"stacflask_instant": "PARSE_INSTANT", "stacflask_apart": "IS_DISJOINT"}
"""Former names, and the constants of revision 0001 that create the functions."""
FUNCTION_OF_QUOTA = "plugin_quota_book"
"""Former name. The plugin's own migration creates the function with its new name."""


def rename(connection: psycopg.Connection) -> None:
    """Rename all objects, in the caller's transaction."""
    name = sql.Identifier
    for former, new in TABLES.items():
        connection.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(name(former), name(new)))
    for (table, former), new in COLUMNS.items():
        connection.execute(sql.SQL("ALTER TABLE {} RENAME {} TO {}").format(name(table), name(former), name(new)))
    for former, new in INDEXES.items():
        connection.execute(sql.SQL("ALTER INDEX {} RENAME TO {}").format(name(former), name(new)))
    for (table, former), new in CONSTRAINTS.items():
        statement = sql.SQL("ALTER TABLE {} RENAME CONSTRAINT {} TO {}")
        connection.execute(statement.format(name(table), name(former), name(new)))
    first = runpy.run_path(str(FIRST))
    for former, definition in FUNCTIONS.items():
        connection.execute(sql.SQL("DROP FUNCTION {} CASCADE").format(name(former)))
        connection.execute(first[definition])
    connection.execute(first["EXTEND_TIME"])
    connection.execute(sql.SQL("DROP FUNCTION {}").format(name(FUNCTION_OF_QUOTA)))
    comment(connection)
    connection.execute("UPDATE alembic_version SET version_num = '0001'")


def comment(connection: psycopg.Connection) -> None:
    """Write the comments on the catalogue's columns, which `alembic check` compares."""
    from stacflask.catalog.database.tables import metadata

    for table in metadata.sorted_tables:
        for column in table.columns:
            where = sql.Identifier(table.name, column.name)
            connection.execute(sql.SQL("COMMENT ON COLUMN {} IS {}").format(where, sql.Literal(column.comment)))


def main() -> int:
    """Rename, and report what operators must do next."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        if found != [("0024",)]:
            print(f"The database is at {found}, but must be at revision 0024. Nothing was changed.", file=sys.stderr)
            return 1
        rename(connection)
    print("Renamed. Run `stacflask migrate`, with all plugins whose tables the database has in STACFLASK_PLUGINS.")
    print("Run `stacflask index add` again for properties that are indexed by time.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

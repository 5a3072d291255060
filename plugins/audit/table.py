"""The tables of the audit: records and daily salts."""

import os
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import orjson

from stacflask import Storage


def encoded(record: dict[str, Any]) -> bytes:
    """Return a record as JSON that PostgreSQL can store: without NUL and without lone surrogates."""
    try:
        text = orjson.dumps(record)
        if b"\\u0000" not in text:
            return text
    except TypeError:
        pass
    return orjson.dumps({name: _storable(value) for name, value in record.items()})


def _storable(value: Any) -> Any:
    if isinstance(value, list):
        return [_storable(one) for one in value]
    return value.encode("utf-8", "replace").decode().replace("\0", "?") if isinstance(value, str) else value


COLUMNS = (
    "at, event, id, request, method, principal, groups, scheme, credential, address, agent, collection, item, asset, "
    "path, by, reason, code, others, delivery, declared, first, length, sent, complete, seconds"
)
INSERT = (
    f"INSERT INTO plugin_audit_events ({COLUMNS}) "
    f"SELECT {COLUMNS} FROM jsonb_populate_recordset(NULL::plugin_audit_events, CAST(:records AS jsonb)) AS new"
)
RESTORE = (
    f"{INSERT} WHERE NOT EXISTS "
    "(SELECT FROM plugin_audit_events AS old WHERE old.at = new.at AND old.id = new.id AND old.event = new.event)"
)
FORGET = (
    "UPDATE plugin_audit_events SET principal = NULL, groups = NULL, credential = NULL, address = NULL, agent = NULL, "
    "request = NULL "
    "WHERE at < :before AND num_nonnulls(principal, credential, address, agent, request) > 0 RETURNING 1"
)


class AuditTables:
    """The records in the database."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def insert(self, records: Sequence[bytes]) -> None:
        """Insert records. Raises Unavailable, or another StacflaskError if a record cannot be stored."""
        self._insert(INSERT, records)

    def restore(self, records: Sequence[bytes]) -> None:
        """Insert records, except those that exist already."""
        self._insert(RESTORE, records)

    def _insert(self, sql: str, records: Sequence[bytes]) -> None:
        with self.storage.transaction() as statements:
            statements.rows(sql, records=f"[{b','.join(records).decode()}]")

    def salt(self, day: date) -> bytes:
        """Return the salt of a day, and delete earlier ones, so that their hashes cannot be computed again."""
        with self.storage.transaction() as statements:
            statements.rows("DELETE FROM plugin_audit_salts WHERE day < :day", day=day)
            statements.rows(
                "INSERT INTO plugin_audit_salts (day, salt) VALUES (:day, :salt) ON CONFLICT DO NOTHING",
                day=day,
                salt=os.urandom(16),
            )
            return bytes(statements.rows("SELECT salt FROM plugin_audit_salts WHERE day = :day", day=day)[0]["salt"])

    def forget(self, before: datetime) -> int:
        """Delete personal data in records before a time, and return the number of records."""
        return len(self.storage.write(FORGET, before=before))

"""Responses of the licence endpoints, and their JSON schemas."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def timestamp(moment: datetime) -> str:
    """Write a time as RFC 3339 has it, in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


BY_ACCEPT = {"Vary": "Accept"}


def licence_document(row: Mapping[str, Any], base_url: str) -> dict[str, Any]:
    """Write a licence with its addresses."""
    here = f"{base_url}/licences/{row['id']}"
    body = {"version": row["version"]}
    return {
        "id": row["id"],
        "version": row["version"],
        "title": row["title"],
        "accepted": timestamp(row["accepted"]) if row["accepted"] else None,
        "links": [
            {"rel": "self", "href": here, "type": "application/json"},
            {"rel": "acceptance", "href": f"{here}/acceptance", "method": "POST", "body": body},
        ],
    }


ACCEPTANCE = {
    "type": "object",
    "required": ["version"],
    "properties": {"version": {"type": "string", "description": "The version that you accept: the newest."}},
}
LINKS = {"type": "array", "items": {"type": "object", "required": ["rel", "href"]}}
LICENCE = {
    "type": "object",
    "required": ["id", "version", "title", "accepted", "links"],
    "properties": {
        "id": {"type": "string"},
        "version": {"type": "string"},
        "title": {"type": "string"},
        "text": {"type": "string", "description": "The licence itself."},
        "url": {"type": "string", "format": "uri", "description": "Where the licence can be read."},
        "accepted": {
            "type": "string",
            "format": "date-time",
            "nullable": True,
            "description": "When you accepted this version; null if you have not.",
        },
        "links": LINKS,
    },
}
LIST = {
    "type": "object",
    "required": ["licences", "links"],
    "properties": {"licences": {"type": "array", "items": LICENCE}, "links": LINKS},
}

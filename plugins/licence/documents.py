"""Responses of the licence endpoints, and their JSON schemas."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from stacflask import Decision

from .table import Demand


def timestamp(moment: datetime) -> str:
    """Return a time in UTC (RFC 3339)."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


BY_ACCEPT = {"Vary": "Accept"}


def licence_document(row: Mapping[str, Any], base_url: str) -> dict[str, Any]:
    """Return a licence with its links."""
    url = f"{base_url}/licences/{row['id']}"
    body = {"version": row["version"]}
    return {
        "id": row["id"],
        "version": row["version"],
        "title": row["title"],
        "accepted": timestamp(row["accepted"]) if row["accepted"] else None,
        "links": [
            {"rel": "self", "href": url, "type": "application/json"},
            {"rel": "acceptance", "href": f"{url}/acceptance", "method": "POST", "body": body},
        ],
    }


def not_accepted(demand: Demand) -> Decision:
    """Return the denial that names the licence to accept and its link."""
    return Decision.deny(
        f"licence {demand.licence} {demand.version} not accepted",
        detail=f"Licence {demand.licence} not accepted. Accept version {demand.version} of {demand.title!r} first.",
        code="LicenceNotAccepted",
        link=f"/licences/{demand.licence}",
        rel="license",
        extra={"licence": {"id": demand.licence, "version": demand.version, "title": demand.title}},
    )


ACCEPTANCE = {
    "type": "object",
    "required": ["version"],
    "properties": {"version": {"type": "string", "description": "The version that you accept. It must be the newest."}},
}
LINKS = {"type": "array", "items": {"type": "object", "required": ["rel", "href"]}}
LICENCE = {
    "type": "object",
    "required": ["id", "version", "title", "accepted", "links"],
    "properties": {
        "id": {"type": "string"},
        "version": {"type": "string"},
        "title": {"type": "string"},
        "text": {"type": "string", "description": "The text of the licence."},
        "url": {"type": "string", "format": "uri", "description": "URL of the text."},
        "accepted": {
            "type": "string",
            "format": "date-time",
            "nullable": True,
            "description": "Time when you accepted this version; null if you have not.",
        },
        "links": LINKS,
    },
}
LIST = {
    "type": "object",
    "required": ["licences", "links"],
    "properties": {"licences": {"type": "array", "items": LICENCE}, "links": LINKS},
}

"""The JSON schema of the response of ``GET /quota``."""

from __future__ import annotations

from plugins.quota.limits import BYTES, DOWNLOADS

_NUMBER = {"type": "integer", "minimum": 0}
_DIMENSION = {
    "type": "object",
    "required": ["limit", "used", "left", "window"],
    "properties": {
        "limit": _NUMBER,
        "used": _NUMBER,
        "left": _NUMBER,
        "window": {**_NUMBER, "description": "Seconds; what was taken longer ago does not count."},
        "resets": {**_NUMBER, "description": "Seconds until the oldest of what is used comes back."},
    },
}
QUOTA = {
    "type": "object",
    "required": ["principal", "quota"],
    "properties": {
        "principal": {"type": "string"},
        "quota": {
            "type": "object",
            "description": "What is limited. What is missing here is not.",
            "properties": {DOWNLOADS: _DIMENSION, BYTES: _DIMENSION},
        },
    },
}

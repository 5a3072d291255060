"""The JSON schema of the response of ``GET /quota``."""

from .limits import BYTES, DOWNLOADS

_NUMBER = {"type": "integer", "minimum": 0}
_DIMENSION = {
    "type": "object",
    "required": ["limit", "used", "left", "window"],
    "properties": {
        "limit": _NUMBER,
        "used": _NUMBER,
        "left": _NUMBER,
        "window": {**_NUMBER, "description": "Seconds. Earlier downloads do not count."},
        "resets": {**_NUMBER, "description": "Seconds until the oldest usage no longer counts."},
    },
}
QUOTA = {
    "type": "object",
    "required": ["principal", "quota"],
    "properties": {
        "principal": {"type": "string"},
        "quota": {
            "type": "object",
            "description": "The limited dimensions. A missing dimension is not limited.",
            "properties": {DOWNLOADS: _DIMENSION, BYTES: _DIMENSION},
        },
    },
}

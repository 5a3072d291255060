"""Repair times in published documents that are not RFC 3339 but unambiguous."""

import re
from typing import Any, NamedTuple

from stacflask.stac.times import parse_instant

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d+)?) ?(Z|[+-]\d\d:?\d\d)?", re.ASCII | re.IGNORECASE)
_TIMES = ("datetime", "start_datetime", "end_datetime")
_OFFSET = len("+0000")


class Repair(NamedTuple):
    """A replaced value and its JSON Pointer (RFC 6901)."""

    pointer: str
    before: str
    after: str


def repair(document: Any) -> list[Repair]:
    """Convert times to RFC 3339 in place: with ``T`` and an offset. A time without an offset is in UTC (STAC)."""
    if not isinstance(document, dict):
        return []
    properties = document.get("properties")
    holder = properties if isinstance(properties, dict) else {}
    found = [_repaired(holder, name, f"/properties/{name}") for name in _TIMES]
    match document:
        case {"extent": {"temporal": {"interval": list(intervals)}}}:
            found += [
                _repaired(interval, end, f"/extent/temporal/interval/{number}/{end}")
                for number, interval in enumerate(intervals)
                if isinstance(interval, list)
                for end in range(len(interval))
            ]
    return [one for one in found if one is not None]


def _repaired(holder: Any, key: Any, pointer: str) -> Repair | None:
    value = holder.get(key) if isinstance(holder, dict) else holder[key]
    form = _TIME.fullmatch(value) if isinstance(value, str) else None
    if form is None or not isinstance(value, str):
        return None
    offset = (form[3] or "Z").upper()
    if len(offset) == _OFFSET:
        offset = f"{offset[:3]}:{offset[3:]}"
    after = f"{form[1]}T{form[2]}{offset}"
    if after == value.upper():
        return None
    try:
        parse_instant(after)
    except ValueError:
        return None
    holder[key] = after
    return Repair(pointer, value, after)

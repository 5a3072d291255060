"""Access logs of S3 stores: which bytes were really taken by the addresses that the house gave out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MARK = "x-stacflask-grant"
"""The parameter of a signed address that names its grant. Stores ignore what begins with x-, and log it."""

# Amazon's server access log format: the first fields, up to the bytes sent. What comes after them does not matter here.
LINE = re.compile(
    r"\S+ (?P<bucket>\S+) \[(?P<at>[^\]]+)\] \S+ \S+ (?P<entry>\S+) (?P<operation>\S+) (?P<key>\S+) "
    r'(?:"(?P<request>.*?)"|-) (?P<status>\d{3}|-) \S+ (?P<sent>\d{1,18}|-)(?: |$)'
)
GRANT = re.compile(rf"[?&]{MARK}=([0-9a-f]{{16}})(?=[&\s])", re.IGNORECASE)
TAKEN = ("200", "206")


@dataclass(frozen=True, slots=True)
class Taken:
    """One request in which bytes were taken. ``id`` is the grant's, if the address had one."""

    log_entry: str
    at: datetime
    id: str | None
    bucket: str
    key: str
    status: int
    sent: int


@dataclass
class Reading:
    """Goes through lines; counts those that are none of the format."""

    lines: int = 0
    strange: int = 0

    def taken(self, lines: Iterable[str]) -> Iterator[Taken]:
        """Give the requests in which an object's bytes were taken; all others are passed over."""
        for line in lines:
            if not line.strip():
                continue
            self.lines += 1
            found = LINE.match(line)
            moment = _time(found["at"]) if found else None
            if found is None or moment is None:
                self.strange += 1
            elif found["operation"].endswith("GET.OBJECT") and found["status"] in TAKEN:
                yield _taken(found, moment)


def _taken(found: re.Match[str], moment: datetime) -> Taken:
    grant = GRANT.search(found["request"] or "")
    return Taken(
        log_entry=found["entry"],
        at=moment,
        id=grant[1].lower() if grant else None,
        bucket=found["bucket"],
        key=unquote(found["key"], errors="replace").replace("\0", "?"),
        status=int(found["status"]),
        sent=0 if found["sent"] == "-" else int(found["sent"]),
    )


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z").astimezone(UTC)
    except ValueError:
        return None

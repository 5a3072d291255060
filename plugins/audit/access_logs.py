"""Reads access logs of S3 stores: the bytes that clients downloaded by presigned URLs."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote

GRANT_PARAMETER = "x-stacflask-grant"
"""The parameter of a presigned URL that has the id of its grant. Stores ignore parameters with x-, and log them."""

# Amazon's server access log format: the first fields, up to the bytes sent. The other fields are not needed.
LINE = re.compile(
    r"\S+ (?P<bucket>\S+) \[(?P<at>[^\]]+)\] \S+ \S+ (?P<entry>\S+) (?P<operation>\S+) (?P<key>\S+) "
    r'(?:"(?P<request>.*?)"|-) (?P<status>\d{3}|-) \S+ (?P<sent>\d{1,18}|-)(?: |$)'
)
GRANT = re.compile(rf"[?&]{GRANT_PARAMETER}=([0-9a-f]{{16}})(?=[&\s])", re.IGNORECASE)
SUCCESS = ("200", "206")


@dataclass(frozen=True, slots=True)
class StoreDownload:
    """A request that downloaded bytes from the store. ``id`` is that of the grant, if the URL had one."""

    log_entry: str
    at: datetime
    id: str | None
    bucket: str
    key: str
    status: int
    sent: int


@dataclass
class LogReader:
    """Reads lines, and counts those that are not in the format."""

    lines: int = 0
    malformed: int = 0

    def downloads(self, lines: Iterable[str]) -> Iterator[StoreDownload]:
        """Yield the requests that downloaded bytes of an object; skip all others."""
        for line in lines:
            if not line.strip():
                continue
            self.lines += 1
            match = LINE.match(line)
            moment = _time(match["at"]) if match else None
            if match is None or moment is None:
                self.malformed += 1
            elif match["operation"].endswith("GET.OBJECT") and match["status"] in SUCCESS:
                yield _store_download(match, moment)


def _store_download(match: re.Match[str], moment: datetime) -> StoreDownload:
    grant = GRANT.search(match["request"] or "")
    return StoreDownload(
        log_entry=match["entry"],
        at=moment,
        id=grant[1].lower() if grant else None,
        bucket=match["bucket"],
        key=unquote(match["key"], errors="replace").replace("\0", "?"),
        status=int(match["status"]),
        sent=0 if match["sent"] == "-" else int(match["sent"]),
    )


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z").astimezone(UTC)
    except ValueError:
        return None

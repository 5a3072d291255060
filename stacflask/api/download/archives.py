"""A whole item as one ZIP, made while it is sent: nothing is kept on the way, neither in files nor in memory.

Each asset is granted, found and charged as in a download of its own. What leaves is the same to the byte for as long
as the objects are, so that a broken transfer can be resumed: see ``Archive.serves`` for when.
"""

from __future__ import annotations

import hashlib
import threading
import time
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import Response, request

from stacflask import current
from stacflask.api.download import manifests, orders, zip_format
from stacflask.api.download.asset import FAILURES, Slot
from stacflask.api.download.content_length import exactly
from stacflask.api.http import ranges
from stacflask.api.http.openapi import IF_MATCH, IF_NONE_MATCH, NOT_MODIFIED, TEXT, array, header, query
from stacflask.api.parameters.blueprints import Blueprint
from stacflask.disposition import content_disposition
from stacflask.errors import BadQuery, Conflict, NotFound, Offline
from stacflask.model.delivery import ByteRange, Redirect, Stream
from stacflask.model.events import StreamResult

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from stacflask.model.asset import Asset
    from stacflask.model.decision import Grant
    from stacflask.model.delivery import Location
    from stacflask.model.events import DownloadDecision

bp = Blueprint("archives", __name__, description="Whole items as archives")

ZIP = "application/zip"
_REMEMBERED = 65536
CODINGS = {"gzip": ".gz", "x-gzip": ".gz", "br": ".br", "zstd": ".zst", "compress": ".Z", "deflate": ".zz"}
"""Endings of files with these content codings."""
BYTES = {
    "description": "The archive, or the bytes of the range.",
    "content": {ZIP: {"schema": {"type": "string", "format": "binary"}}},
}
PARAMETERS = (
    query("assets", "Keys of the assets to be in it; all, unless given.", array(TEXT)),
    header("Range", "One range of bytes; where it would cost more to find than to send, all is sent."),
    header("If-Range", "The ETag that the range is of; of another state, all is sent."),
    IF_NONE_MATCH,
    IF_MATCH,
)


@bp.route("/collections/<collection_id>/items/<item_id>/download.zip")
@bp.describes(*FAILURES, 409, parameters=PARAMETERS, _200=BYTES, _206=BYTES, _202=orders.COMING, _304=NOT_MODIFIED)
def download_item(collection_id: str, item_id: str) -> Response:
    """Download an item's assets as one ZIP; all of them, or none."""
    record = current.catalog().item(collection_id, item_id, current.restriction())
    assets = _chosen(current.catalog().assets(record))
    grants = [current.gate().authorize(current.principal(), asset) for asset in assets]
    streams: list[Stream] = []
    stores: set[str] = set()
    offline = []
    for grant in grants:
        try:
            location = current.gate().resolve(grant)
            stores.add(location.store)
            streams.append(_stream(grant, location))
        except Offline as error:
            offline.append((grant, error))
    if offline:  # all are ordered, so that nobody waits for one after the other
        answer, *_ = [orders.accepted(grant, error) for grant, error in offline]
        return answer
    return _answer(Archive.of(grants, streams, frozenset(stores)), item_id)


def _chosen(assets: Sequence[Asset]) -> Sequence[Asset]:
    """Give the assets that are asked for. Raises BadQuery, Conflict, NotFound."""
    wish = request.args.get("assets")
    keys = {asset.key for asset in assets} if wish is None else {key for key in wish.split(",") if key}
    if missing := keys - {asset.key for asset in assets}:
        raise BadQuery("assets", f"there is no asset {min(missing)!r} to be downloaded")
    chosen = [asset for asset in assets if asset.key in keys]
    if not chosen:
        raise NotFound("There is no asset to be downloaded.")
    for asset in chosen:
        if current.catalog().directories(asset.href, asset.media_type):
            told = f"The asset {asset.key!r} is a directory, which has no place here: name the others with assets=."
            raise Conflict(told, code="DirectoryAsset")
    return chosen


def _stream(grant: Grant, location: Location) -> Stream:
    delivery = current.gate().deliver(grant, location, streamed=True)
    if isinstance(delivery, Redirect):
        raise TypeError("the gate lets no redirect pass for a stream")
    return delivery


# --- The answer ------------------------------------------------------------------------------------------------------


def _answer(archive: Archive, item: str) -> Response:
    """Make the answer and, last of all, book what leaves with it."""
    whole = archive.as_stream()
    part = ranges.part_of(whole)
    if part.status == ranges.PART and not archive.serves(part.first, part.length):
        part = ranges.Part(ranges.WHOLE, 0, whole.length)
    response = Response(status=part.status, content_type=ZIP)
    response.direct_passthrough = True
    for grant in archive.grants:
        response.headers.update(grant.decision.headers)
    counted = any(grant.decision.counted for grant in archive.grants)
    response.headers["Cache-Control"] = "no-store" if counted else "private, no-cache"
    response.headers["Content-Disposition"] = content_disposition(f"{item}.zip")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Accept-Ranges"] = "bytes" if whole.etag else "none"
    if whole.etag:
        response.headers["ETag"] = whole.etag
    if part.status != ranges.NOT_MODIFIED:
        response.headers["Content-Length"] = str(part.length)
        if part.status == ranges.PART:
            last = part.first + part.length - 1
            response.headers["Content-Range"] = f"bytes {part.first}-{last}/{whole.length}"
        if request.method == "GET":
            response.response = _sent(archive, part)
    return response


def _sent(archive: Archive, part: ranges.Part) -> Slot:
    """Take a place among the streams and book every asset of which something leaves: all that, or nothing is sent."""
    slot = Slot(current.gate().stream_finished, part.length, archive.stores)
    sending = Sending(archive, part.first, part.length)
    slot.chunks = sending
    try:
        leaving = dict(archive.byte_ranges(part.first, part.length))
        grants = [archive.grants[number] for number in leaving]
        verdicts = current.gate().charge_many(grants, list(leaving.values()), "stream")
        for number, download_decision in zip(leaving, verdicts, strict=True):
            sending.book(number, download_decision)
    except BaseException:
        slot.close()
        raise
    return slot


def _ending(stream: Stream) -> str:
    """Return how the name of a file must end whose bytes are coded: nothing in an archive says so otherwise."""
    codings = [coding.strip().lower() for coding in (stream.content_encoding or "").split(",")]
    return "".join(CODINGS.get(coding, "") for coding in codings)


@dataclass(frozen=True, slots=True)
class Archive:
    """What is in the archive, and where."""

    grants: Sequence[Grant]
    streams: Sequence[Stream]
    stores: frozenset[str]
    files: Sequence[zip_format.File]
    length: int

    @classmethod
    def of(cls, grants: Sequence[Grant], streams: Sequence[Stream], stores: frozenset[str]) -> Archive:
        """Give each asset a name and a place."""
        codings = [_ending(stream) for stream in streams]
        names = [name.partition("/")[2] for name in manifests.names([grant.asset for grant in grants], codings)]
        sizes = [(name, found.length, found.last_modified) for name, found in zip(names, streams, strict=True)]
        return cls(grants, streams, stores, *zip_format.layout(sizes))

    def as_stream(self) -> Stream:
        """Describe the archive as what ranges are taken of. Without a validator for each part, it has none."""
        etag = None
        if all(stream.etag for stream in self.streams):
            parts = [(file.name, file.size, stream.etag) for file, stream in zip(self.files, self.streams, strict=True)]
            etag = f'"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"'
        return Stream(lambda _first, _length: iter(()), self.length, etag)

    def serves(self, first: int, length: int) -> bool:
        """Whether a range can be sent without reading more in vain than is sent.

        A file's checksum is needed for what stands behind it and at the end. It is remembered once a file has been
        read; else the part that is skipped must be read again.
        """
        if not self.as_stream().etag:
            return False
        end = first + length
        vain = [
            min(file.size, first - file.start)
            for number, file in enumerate(self.files)
            if file.start < first and end > file.start + file.size and CHECKSUMS.get(self.key(number)) is None
        ]
        return sum(vain) <= length

    def byte_ranges(self, first: int, length: int) -> Iterator[tuple[int, ByteRange]]:
        """Give the assets of which something leaves with a range, and what; an empty one with what stands before it."""
        for number, file in enumerate(self.files):
            begin, end = max(first, file.start), min(first + length, file.start + file.size)
            if begin < end:
                yield number, ByteRange(begin - file.start, end - begin, file.size)
            elif not file.size and first <= file.begin < first + length:
                yield number, ByteRange(0, 0, 0)

    def key(self, number: int) -> tuple[str, str | None, int]:
        """Name an object in a certain state."""
        return self.grants[number].asset.href, self.streams[number].etag, self.streams[number].length


class Checksums:
    """CRC-32 of objects that were read to their end, by what they are and their state; the oldest goes first."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str | None, int], int] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, str | None, int]) -> int | None:
        """Give what is known of an object."""
        return self._known.get(key)

    def learn(self, key: tuple[str, str | None, int], checksum: int) -> None:
        """Remember one."""
        if key[1] is None:
            return
        with self._lock:
            self._known[key] = checksum
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


CHECKSUMS = Checksums()


class Sending:
    """A range of an archive on its way. At the end, however it comes, each asset's transfer is told."""

    def __init__(self, archive: Archive, first: int, length: int) -> None:
        self._archive = archive
        self._first, self._end = first, first + length
        self._began = time.perf_counter()
        self._verdicts: dict[int, DownloadDecision] = {}
        self._sent = dict.fromkeys(range(len(archive.files)), 0)
        self._finished = current.gate().stream_finished
        self._pieces = self._made()

    def book(self, number: int, download_decision: DownloadDecision) -> None:
        """Remember what was charged, to tell how it ended."""
        self._verdicts[number] = download_decision

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Close the store's side, and tell how far each asset came."""
        self._pieces.close()
        verdicts, self._verdicts = self._verdicts, {}
        for number, download_decision in verdicts.items():
            sent = self._sent[number]
            complete = download_decision.byte_range is not None and sent == download_decision.byte_range.length
            self._finished(StreamResult(download_decision, sent, complete, time.perf_counter() - self._began))

    def _made(self) -> Generator[bytes]:
        position, checksums = 0, []
        for number, file in enumerate(self._archive.files):
            yield from self._cut(file.begin, file.head)
            checksum = yield from self._file(number, file)
            checksums.append(checksum)
            yield from self._cut(file.start + file.size, file.behind(checksum))
            position = file.end
            if position >= self._end:
                return
        yield from self._cut(position, zip_format.directory(self._archive.files, checksums))

    def _cut(self, place: int, data: bytes) -> Iterator[bytes]:
        """Give what of these bytes, which stand there, lies in the range."""
        part = data[max(0, self._first - place) : max(0, self._end - place)]
        if part:
            yield part

    def _file(self, number: int, file: zip_format.File) -> Generator[bytes, None, int]:
        """Give what of a file lies in the range, and return its checksum, where that is needed."""
        skipped = min(file.size, max(0, self._first - file.start))
        known = CHECKSUMS.get(self._archive.key(number))
        begin = 0
        if known is not None or self._end <= file.start + file.size:
            begin = skipped
        wanted = min(file.size, max(begin, self._end - file.start))
        checksum, position = 0, begin
        for piece in self._read(number, begin, wanted - begin):
            checksum = zlib.crc32(piece, checksum)
            fresh = piece[max(0, skipped - position) :]
            position += len(piece)
            if fresh:
                yield fresh
                self._sent[number] += len(fresh)
        if known is not None:
            return known
        if begin == 0 and wanted == file.size:
            CHECKSUMS.learn(self._archive.key(number), checksum)
        return checksum

    def _read(self, number: int, first: int, length: int) -> Iterator[bytes]:
        """Read a part of an object. Another length breaks the archive off: it must not look complete."""
        if not length:
            return
        pieces = self._archive.streams[number].open(first, length)
        try:
            yield from exactly(pieces, length)
        finally:
            closing = getattr(pieces, "close", None)
            if closing is not None:
                closing()

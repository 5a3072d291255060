"""Download all assets of an item as one ZIP archive. It is created while it is sent, without files or buffers.

Each asset is authorized, resolved and charged as in a single download. The bytes of an archive are the same as long as
its objects are, so that a client can resume a download; ``Archive.serves`` has the conditions.
"""

from __future__ import annotations

import hashlib
import threading
import time
import zlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from cachetools import FIFOCache
from flask import Response, request

from stacflask import current
from stacflask.api.documents import signed_hrefs
from stacflask.api.download import manifests, orders, zip_format
from stacflask.api.download.asset import FAILURES, StreamBody
from stacflask.api.download.buffers import Buffer, as_sent, close
from stacflask.api.download.content_length import exactly
from stacflask.api.http import ranges
from stacflask.api.http.openapi import IF_MATCH, IF_NONE_MATCH, NOT_MODIFIED, TEXT, array, header, query
from stacflask.api.parameters.blueprints import Blueprint
from stacflask.disposition import content_disposition
from stacflask.errors import BadQuery, Conflict, NotFound, NotStreamable, Offline
from stacflask.model.asset import Asset
from stacflask.model.decision import Grant
from stacflask.model.delivery import ByteRange, Stream
from stacflask.model.events import DownloadDecision, StreamResult

bp = Blueprint("archives", __name__, description="Whole items as archives")

ZIP = "application/zip"
SKIPPED = "SKIPPED.txt"
"""The file of an archive that lists the assets that are not in it."""
MAX_CHECKSUMS = 65536
"""Maximum number of cached checksums."""
CODINGS = {"gzip": ".gz", "x-gzip": ".gz", "br": ".br", "zstd": ".zst", "compress": ".Z", "deflate": ".zz"}
"""File name extensions of content codings."""
BYTES = {
    "description": "The archive, or the bytes of the range.",
    "content": {ZIP: {"schema": {"type": "string", "format": "binary"}}},
}
PARAMETERS = (
    query("assets", "Keys of the assets in the archive; the default is all.", array(TEXT)),
    header(
        "Range", "One range of bytes. If the server would have to read more than it sends, it sends the whole archive."
    ),
    header("If-Range", "The ETag of the range. If the archive has changed, it is sent completely."),
    IF_NONE_MATCH,
    IF_MATCH,
)


@bp.route("/collections/<collection_id>/items/<item_id>/download.zip")
@bp.describes(
    *FAILURES, 409, parameters=PARAMETERS, _200=BYTES, _206=BYTES, _202=orders.ACCEPTED_RESPONSE, _304=NOT_MODIFIED
)
def download_item(collection_id: str, item_id: str) -> Response:
    """Download the assets of an item as one ZIP archive; all of them, or none.

    Assets in stores that only redirect are left out. SKIPPED.txt in the archive lists them with their download URLs.
    """
    record = current.catalog().item(collection_id, item_id, current.restriction())
    assets = _selected(current.catalog().assets(record))
    grants = [current.gate().authorize(current.principal(), asset) for asset in assets]
    streams: list[tuple[Grant, Stream]] = []
    stores: set[str] = set()
    offline: list[tuple[Grant, Offline]] = []
    skipped: list[Grant] = []
    for grant in grants:
        try:
            store, stream = _stream(grant)
        except Offline as error:
            offline.append((grant, error))
        except NotStreamable:
            skipped.append(grant)
        else:
            stores.add(store)
            streams.append((grant, stream))
    if offline:  # All are ordered at once, because ordering one after the other would take longer.
        response, *_ = [orders.accepted(grant, error) for grant, error in offline]
        return response
    if not streams:
        raise NotStreamable("The stores of these assets only redirect. Download each asset by its own URL.")
    if request.method == "GET":
        buffer = Buffer(stores)
        streams = [(grant, buffer.with_length(grant.asset, stream)) for grant, stream in streams]
    return _response(Archive.of(streams, frozenset(stores), skipped), item_id)


def _selected(assets: Sequence[Asset]) -> Sequence[Asset]:
    """Return the assets that a request selects. Raises BadQuery, Conflict, NotFound."""
    names = request.args.get("assets")
    keys = {asset.key for asset in assets} if names is None else {key for key in names.split(",") if key}
    if missing := keys - {asset.key for asset in assets}:
        raise BadQuery("assets", f"there is no asset {min(missing)!r} that can be downloaded")
    selected = [asset for asset in assets if asset.key in keys]
    if not selected:
        raise NotFound("There is no asset that can be downloaded.")
    for asset in selected:
        if current.catalog().directories(asset.href, asset.media_type):
            detail = f"The asset {asset.key!r} is a directory. Archives have only files: list other assets in assets=."
            raise Conflict(detail, code="DirectoryAsset")
    return selected


def _stream(grant: Grant) -> tuple[str, Stream]:
    """Return the name of the store of an asset, and its stream. Raises NotStreamable, Offline."""
    location = current.gate().resolve(grant)
    delivery = current.gate().deliver(grant, location, streamed=True)
    if not isinstance(delivery, Stream):
        raise TypeError("expected a stream, got a redirect")
    return location.store, delivery


def _note(skipped: Sequence[Grant]) -> Stream:
    """Return a text that lists the assets that are not in an archive."""
    lines = [f"{grant.asset.key}: {signed_hrefs.download_url(grant.asset)}\n" for grant in skipped]
    text = "".join(["Not in this archive, because their stores only redirect:\n", *lines]).encode()
    etag = f'"{hashlib.sha256(text).hexdigest()[:32]}"'
    return Stream(lambda first, length: iter([text[first : first + length]]), len(text), etag)


# --- The response ----------------------------------------------------------------------------------------------------


def _response(archive: Archive, item: str) -> Response:
    """Return the response. The assets are charged last, because earlier steps can fail."""
    whole = archive.as_stream()
    part = ranges.part_of(whole)
    if part.status == ranges.PART and not archive.serves(part.first, part.length):
        part = ranges.Part(ranges.WHOLE, 0, archive.length)
    response = Response(status=part.status, content_type=ZIP)
    response.direct_passthrough = True
    for grant in archive.grants:
        response.headers.update(grant.decision.headers)
    counted = any(grant.decision.counted for grant in archive.grants)
    response.headers["Cache-Control"] = "no-store" if counted else "private, no-cache"
    response.headers["Content-Disposition"] = content_disposition(f"{item}.zip")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Accept-Ranges"] = "bytes" if whole.ranges else "none"
    if whole.etag:
        response.headers["ETag"] = whole.etag
    if whole.length is None:
        response.automatically_set_content_length = False  # werkzeug would send 0
    elif part.status != ranges.NOT_MODIFIED:
        response.headers["Content-Length"] = str(part.length)
        if part.status == ranges.PART:
            last = part.first + part.length - 1
            response.headers["Content-Range"] = f"bytes {part.first}-{last}/{whole.length}"
        if request.method == "GET":
            response.response = _body(archive, part)
    return response


def _body(archive: Archive, part: ranges.Part) -> StreamBody:
    """Occupy a stream of this process and charge the assets of a range. If a step fails, nothing is sent."""
    body = StreamBody(current.gate().stream_finished, part.length, archive.stores)
    chunks = ArchiveChunks(archive, part.first, part.length)
    body.chunks = chunks
    try:
        byte_ranges = dict(archive.byte_ranges(part.first, part.length))
        grants = [archive.grants[number] for number in byte_ranges]
        decisions = current.gate().charge_many(grants, list(byte_ranges.values()), "stream")
        for number, download_decision in zip(byte_ranges, decisions, strict=True):
            chunks.record(number, download_decision)
    except BaseException:
        body.close()
        raise
    return body


def _coding_extension(stream: Stream) -> str:
    """Return the extension for the content coding of a file, because an archive has no other field for it."""
    codings = [coding.strip().lower() for coding in (stream.content_encoding or "").split(",")]
    return "".join(CODINGS.get(coding, "") for coding in codings)


@dataclass(frozen=True, slots=True)
class Archive:
    """The files of an archive and their positions. The list of skipped assets is the last file, without a grant."""

    grants: Sequence[Grant]
    streams: Sequence[Stream]
    stores: frozenset[str]
    files: Sequence[zip_format.File]
    length: int

    @classmethod
    def of(
        cls, granted: Sequence[tuple[Grant, Stream]], stores: frozenset[str], skipped: Sequence[Grant] = ()
    ) -> Archive:
        """Return an archive in which each asset has a name and a position."""
        grants, streams = [grant for grant, _ in granted], [stream for _, stream in granted]
        codings = map(_coding_extension, streams)
        assets = [as_sent(grant.asset, stream) for grant, stream in granted]
        names = [name.partition("/")[2] for name in manifests.names(assets, codings)]
        if skipped:
            note = f"{names[0].partition('/')[0]}/{SKIPPED}"
            names.append(note if note not in names else f"{note}.txt")
            streams.append(_note(skipped))
        sizes = [(name, found.length or 0, found.last_modified) for name, found in zip(names, streams, strict=True)]
        return cls(grants, streams, stores, *zip_format.layout(sizes))

    def as_stream(self) -> Stream:
        """Return a description of the archive for range requests. It has a validator if each file has one."""
        etag = None
        length = self.length if all(stream.length is not None for stream in self.streams) else None
        if length is not None and all(stream.etag for stream in self.streams):
            parts = [(file.name, file.size, stream.etag) for file, stream in zip(self.files, self.streams, strict=True)]
            etag = f'"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"'
        has_ranges = etag is not None and all(stream.ranges for stream in self.streams)
        return Stream(lambda _first, _length: iter(()), length, etag, ranges=has_ranges)

    def serves(self, first: int, length: int) -> bool:
        """Return whether a range can be sent without reading more skipped bytes than are sent.

        The data after a file and the directory at the end have the checksum of the file. It is cached after the file
        was read once. If it is not cached, the skipped part of the file must be read again.
        """
        end = first + length
        skipped = [
            min(file.size, first - file.start)
            for number, file in enumerate(self.files)
            if file.start < first and end > file.start + file.size and CHECKSUMS.get(self.key(number)) is None
        ]
        return sum(skipped) <= length

    def byte_ranges(self, first: int, length: int) -> Iterator[tuple[int, ByteRange]]:
        """Return the assets with bytes in a range, and their ranges. An empty asset is included with its header."""
        for number, file in enumerate(self.files[: len(self.grants)]):
            begin, end = max(first, file.start), min(first + length, file.start + file.size)
            if begin < end:
                yield number, ByteRange(begin - file.start, end - begin, file.size)
            elif not file.size and first <= file.begin < first + length:
                yield number, ByteRange(0, 0, 0)

    def key(self, number: int) -> tuple[str, str | None, int]:
        """Return a key of an object and its version."""
        href = self.grants[number].asset.href if number < len(self.grants) else ""
        return href, self.streams[number].etag, self.files[number].size


CHECKSUMS: FIFOCache[tuple[str, str | None, int], int] = FIFOCache(MAX_CHECKSUMS)
"""CRC-32 of objects that were read completely."""
_CHECKSUMS_LOCK = threading.Lock()


class ArchiveChunks:
    """The bytes of a range of an archive. When the stream ends or fails, the result of each asset is reported."""

    def __init__(self, archive: Archive, first: int, length: int) -> None:
        self._archive = archive
        self._first, self._end = first, first + length
        self._began = time.perf_counter()
        self._decisions: dict[int, DownloadDecision] = {}
        self._sent = dict.fromkeys(range(len(archive.files)), 0)
        self._finished = current.gate().stream_finished
        self._chunks = self._all_chunks()

    def record(self, number: int, download_decision: DownloadDecision) -> None:
        """Store the decision of an asset that was charged, to report the result of its stream."""
        self._decisions[number] = download_decision

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """Close the streams of the stores, and report the result of each asset."""
        self._chunks.close()
        decisions, self._decisions = self._decisions, {}
        for number, download_decision in decisions.items():
            sent = self._sent[number]
            complete = download_decision.byte_range is not None and sent == download_decision.byte_range.length
            self._finished(StreamResult(download_decision, sent, complete, time.perf_counter() - self._began))

    def _all_chunks(self) -> Generator[bytes]:
        position, checksums = 0, []
        for number, file in enumerate(self._archive.files):
            yield from self._in_range(file.begin, file.header)
            checksum = yield from self._file(number, file)
            checksums.append(checksum)
            yield from self._in_range(file.start + file.size, file.descriptor(checksum))
            position = file.end
            if position >= self._end:
                return
        yield from self._in_range(position, zip_format.directory(self._archive.files, checksums))

    def _in_range(self, position: int, data: bytes) -> Iterator[bytes]:
        """Yield the part of these bytes that is in the range."""
        part = data[max(0, self._first - position) : max(0, self._end - position)]
        if part:
            yield part

    def _file(self, number: int, file: zip_format.File) -> Generator[bytes, None, int]:
        """Yield the part of a file that is in the range, and return its checksum if it is needed."""
        skipped = min(file.size, max(0, self._first - file.start))
        cached = CHECKSUMS.get(self._archive.key(number))
        begin = 0
        if cached is not None or self._end <= file.start + file.size:
            begin = skipped
        end = min(file.size, max(begin, self._end - file.start))
        checksum, position = 0, begin
        for chunk in self._read(number, begin, end - begin):
            checksum = zlib.crc32(chunk, checksum)
            requested = chunk[max(0, skipped - position) :]
            position += len(chunk)
            if requested:
                yield requested
                self._sent[number] += len(requested)
        if cached is not None:
            return cached
        if begin == 0 and end == file.size and self._archive.streams[number].etag is not None:
            with _CHECKSUMS_LOCK:
                CHECKSUMS[self._archive.key(number)] = checksum
        return checksum

    def _read(self, number: int, first: int, length: int) -> Iterator[bytes]:
        """Read a part of an object. A wrong length aborts the archive, because it must not look complete."""
        if not length:
            return
        chunks = self._archive.streams[number].open(first, length)
        try:
            yield from exactly(chunks, length)
        finally:
            close(chunks)

"""The Download extension: the one door through which assets leave.

``GET .../download/{assetId}`` answers 307 to a temporary address, or 200 with the bytes. HEAD is always answered here:
a temporary address is good for one method only.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
import time
from typing import TYPE_CHECKING

from flask import Response, request
from werkzeug.http import http_date
from werkzeug.routing import BaseConverter

from stacflask import current
from stacflask.api.download import access, orders
from stacflask.api.download.content_length import exactly
from stacflask.api.download.stream_limits import Place
from stacflask.api.http import ranges
from stacflask.api.http.openapi import IF_MATCH, IF_NONE_MATCH, NOT_MODIFIED, TEXT, header, query, response_object
from stacflask.api.parameters.blueprints import Blueprint
from stacflask.disposition import NAMES, content_disposition
from stacflask.errors import BadQuery, NoAnswer, Offline
from stacflask.model.delivery import ByteRange, Redirect
from stacflask.model.events import StreamResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from stacflask.model.asset import Asset
    from stacflask.model.decision import Grant
    from stacflask.model.delivery import Delivery, Stream
    from stacflask.model.events import DownloadDecision

bp = Blueprint("download", __name__, description="Download of assets")

OCTETS = "application/octet-stream"
MARGIN = 60
"""Seconds by which a cached redirect ends before the address in it does."""
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(\s*;\s*[\w.+-]+=(\"[^\"\\\r\n]*\"|[\w.+/:-]+))*", re.ASCII)
_TOKENS = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+([ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
"""A list of tokens (RFC 9110, 5.6), as Content-Encoding and Content-Language have it."""
_URL = re.compile(r"https?://[!-~]+")
_SHA256 = re.compile(r"1220([0-9a-f]{64})")

BYTES = {
    "description": "The bytes, or those of the range.",
    "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}},
}
ANSWERS = {
    "_200": BYTES,
    "_206": BYTES,
    "_202": orders.COMING,
    "_304": NOT_MODIFIED,
    "_307": response_object(
        "The bytes are at Location, for a while.", None, Location="A temporary address, good for GET."
    ),
}
PARAMETERS = (
    query("delivery", "stream: send the bytes from here instead of redirecting.", {**TEXT, "enum": ["stream"]}),
    header("Range", "One range of bytes, where they are sent from here (RFC 9110, section 14)."),
    header("If-Range", "The ETag or date that the range is of; of another state, all is sent."),
    IF_NONE_MATCH,
    IF_MATCH,
)
FAILURES = (403, 404, 412, 416, 429)


class Key(BaseConverter):
    """An asset's key in a path, and what follows it: all that is left, slashes at either end included."""

    part_isolating = False
    regex = ".+"
    weight = 200


@bp.route("/collections/<collection_id>/items/<item_id>/download/<key:asset_id>")
@bp.describes(*FAILURES, parameters=PARAMETERS, **ANSWERS)
def download_item_asset(collection_id: str, item_id: str, asset_id: str) -> Response:
    """Download an asset of an item; HEAD says what it is like, without a redirect."""
    return _download(collection_id, item_id, asset_id)


@bp.route("/collections/<collection_id>/download/<key:asset_id>")
@bp.describes(*FAILURES, parameters=PARAMETERS, **ANSWERS)
def download_collection_asset(collection_id: str, asset_id: str) -> Response:
    """Download an asset of a collection; HEAD says what it is like, without a redirect."""
    return _download(collection_id, None, asset_id)


def _download(collection: str, item: str | None, key: str) -> Response:
    """Hand over the bytes of one asset, or say where they are."""
    streamed = _wants_stream(collection)
    grant = access.granted(collection, item, key)
    try:
        location = current.gate().resolve(grant)
        delivery = current.gate().deliver(grant, location, streamed=streamed)
    except Offline as offline:
        return orders.accepted(grant, offline)
    return _answer(grant, delivery, location.store)


def _wants_stream(collection: str) -> bool:
    """Whether only a stream will do: for HEAD, on request, by setting, or for a client that a store would refuse.

    Such clients send Authorization on to the store, which takes a signed address or a header, not both.
    """
    wish = request.args.get("delivery")
    if wish not in (None, "stream"):
        raise BadQuery("delivery", f"expected stream, not {wish!r}")
    settings = current.settings()
    forwards = "Authorization" in request.headers and request.user_agent.string.startswith(settings.stream_agents)
    return request.method == "HEAD" or wish is not None or collection in settings.stream_collections or forwards


def _answer(grant: Grant, delivery: Delivery, store: str) -> Response:
    """Make the answer and, last of all, book what leaves with it: whatever fails before has cost nothing."""
    if isinstance(delivery, Redirect):
        response = _for_client(_redirect(grant, delivery), grant)
        size = grant.asset.size if delivery.size is None else delivery.size
        current.gate().charge(grant, ByteRange(0, size, size), "redirect")
        return response
    part = ranges.part_of(delivery)
    response = _for_client(_stream(grant, delivery, part), grant)
    if request.method == "GET" and part.status != ranges.NOT_MODIFIED:
        response.response = _bytes(grant, delivery, part, store)
    return response


def _for_client(response: Response, grant: Grant) -> Response:
    response.headers.update(grant.decision.headers)
    # Which of the two it gets depends on the client, see ``_wants_stream``.
    response.vary.add("User-Agent")
    return response


# --- 307 -------------------------------------------------------------------------------------------------------------


def _redirect(grant: Grant, redirect: Redirect) -> Response:
    if not _URL.fullmatch(redirect.url):
        raise NoAnswer("The store's plugin gave no usable address.")
    response = Response(status=307)
    del response.headers["Content-Type"]
    response.headers["Location"] = redirect.url
    response.autocorrect_location_header = False
    seconds = max(0, int(redirect.lifetime.total_seconds()) - MARGIN)
    response.headers["Cache-Control"] = "no-store" if grant.decision.counted else f"private, max-age={seconds}"
    return response


# --- 200 and its kin -------------------------------------------------------------------------------------------------


def _stream(grant: Grant, stream: Stream, part: ranges.Part) -> Response:
    response = Response(status=part.status, content_type=_media_type(grant.asset, stream))
    # Passed on as it is: not compressed, not counted, not buffered.
    response.direct_passthrough = True
    _describe(response, grant, stream)
    if part.status != ranges.NOT_MODIFIED:
        response.headers["Content-Length"] = str(part.length)
    if part.status == ranges.PART:
        last = part.first + part.length - 1
        response.headers["Content-Range"] = f"bytes {part.first}-{last}/{stream.length}"
    return response


def _describe(response: Response, grant: Grant, stream: Stream) -> None:
    headers = response.headers
    headers["Accept-Ranges"] = "bytes"
    headers["Content-Disposition"] = content_disposition(NAMES[current.settings().file_names](grant.asset))
    headers["Cache-Control"] = "no-store" if grant.decision.counted else "private, no-cache"
    headers["X-Content-Type-Options"] = "nosniff"
    if stream.etag:
        headers["ETag"] = stream.etag
    if stream.last_modified:
        headers["Last-Modified"] = http_date(stream.last_modified)
    for name, value in (("Encoding", stream.content_encoding), ("Language", stream.content_language)):
        if value and _TOKENS.fullmatch(value):
            headers[f"Content-{name}"] = value
    if digest := _digest(grant.asset, stream):
        headers["Repr-Digest"] = digest


def _media_type(asset: Asset, stream: Stream) -> str:
    """Return the asset's media type, or else the store's, or else that of any bytes."""
    for given in (asset.media_type, stream.content_type):
        if given and _MEDIA_TYPE.fullmatch(given):
            return given
    return OCTETS


def _digest(asset: Asset, stream: Stream) -> str | None:
    """Give ``file:checksum`` as Repr-Digest (RFC 9530), where it is a sha2-256 multihash.

    The digest is that of the coded bytes. Where they are coded, only an equal ``file:size`` shows that these are meant.
    """
    if stream.content_encoding and asset.size != stream.length:
        return None
    found = _SHA256.fullmatch(str(asset.properties.get("file:checksum", "")))
    try:
        return f"sha-256=:{base64.b64encode(binascii.unhexlify(found[1])).decode()}:" if found else None
    except binascii.Error:
        return None


def _bytes(grant: Grant, stream: Stream, part: ranges.Part, store: str) -> Slot:
    """Take a place among the streams, book what leaves, and open the store: in this order, and all or nothing."""
    slot = Slot(current.gate().stream_finished, part.length, {store})
    try:
        slot.begin(current.gate().charge(grant, ByteRange(part.first, part.length, stream.length), "stream"))
        slot.chunks = stream.open(part.first, part.length) if part.length else iter(())
    except BaseException:
        slot.close()
        raise
    return slot


class Slot:
    """A place among this process's streams, given back when the stream ends, breaks, or its client goes.

    Whoever keeps records is told then, if the stream had begun. What is not as long as was announced is broken off.
    ``announced`` is that length.
    """

    _lock = threading.Lock()
    _place: Place | None = None
    _verdict: DownloadDecision | None = None

    def __init__(self, tell: Callable[[StreamResult], None], announced: int, stores: Iterable[str]) -> None:
        self._tell = tell
        self._announced = announced
        self._began, self._sent = 0.0, 0
        self.chunks: Iterator[bytes] = iter(())
        self._place = Place(stores, current.settings().max_streams)

    def begin(self, download_decision: DownloadDecision) -> None:
        """Remember what is about to be sent, to tell how it ended."""
        self._verdict, self._began, self._sent = download_decision, time.perf_counter(), 0

    def __del__(self) -> None:
        """Give back the place of an answer that was made and never sent."""
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        place = self._place
        chunks = self.chunks if place is None else place.timed(self.chunks)
        for chunk in exactly(chunks, self._announced):
            yield chunk
            # The server asks for the next once this one is out.
            self._sent += len(chunk)

    def close(self) -> None:
        """Give the place back and close the store's side."""
        closing = getattr(self.chunks, "close", None)
        try:
            if closing is not None:
                closing()
        finally:
            if self._place is not None:
                self._place.give_back()
            with Slot._lock:
                download_decision, self._verdict = self._verdict, None
            if download_decision is not None:
                self._tell(self._transfer(download_decision))

    def _transfer(self, download_decision: DownloadDecision) -> StreamResult:
        complete = download_decision.byte_range is not None and self._sent == download_decision.byte_range.length
        return StreamResult(download_decision, self._sent, complete, time.perf_counter() - self._began)

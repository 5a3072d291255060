"""The Download extension: download a single asset.

The response to ``GET .../download/{assetId}`` is a redirect (307) to a temporary URL, or the bytes (200). HEAD is never
redirected, because a temporary URL is valid for one method only.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from flask import Response, request
from werkzeug.http import http_date
from werkzeug.routing import BaseConverter

from stacflask import current
from stacflask.api.download import access, buffers, orders
from stacflask.api.download.content_length import exactly
from stacflask.api.download.stream_limits import StreamSlot
from stacflask.api.http import ranges
from stacflask.api.http.openapi import IF_MATCH, IF_NONE_MATCH, NOT_MODIFIED, TEXT, header, query, response_object
from stacflask.api.parameters.blueprints import Blueprint
from stacflask.disposition import FILE_NAMES, content_disposition
from stacflask.errors import BadQuery, NoAnswer, Offline
from stacflask.model.asset import Asset
from stacflask.model.decision import Grant
from stacflask.model.delivery import ByteRange, Delivery, Redirect, Stream
from stacflask.model.events import DownloadDecision, StreamResult

bp = Blueprint("download", __name__, description="Download of assets")

OCTETS = "application/octet-stream"
REDIRECT_MARGIN_SECONDS = 60
"""A cached redirect expires this long before its URL."""
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(\s*;\s*[\w.+-]+=(\"[^\"\\\r\n]*\"|[\w.+/:-]+))*", re.ASCII)
_TOKENS = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+([ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
"""A list of tokens (RFC 9110, 5.6), for Content-Encoding and Content-Language."""
_URL = re.compile(r"https?://[!-~]+")
_SHA256 = re.compile(r"1220([0-9a-f]{64})")

BYTES = {
    "description": "The bytes of the asset or of the range.",
    "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}},
}
RESPONSES = {
    "_200": BYTES,
    "_206": BYTES,
    "_202": orders.ACCEPTED_RESPONSE,
    "_304": NOT_MODIFIED,
    "_307": response_object(
        "The asset is at Location, for a limited time.", None, Location="A temporary URL, valid for GET."
    ),
}
PARAMETERS = (
    query(
        "delivery", "stream: send the bytes through this server instead of a redirect.", {**TEXT, "enum": ["stream"]}
    ),
    header("Range", "One range of bytes, if they are sent through this server (RFC 9110, section 14)."),
    header("If-Range", "The ETag or date of the range. If the asset has changed, it is sent completely."),
    IF_NONE_MATCH,
    IF_MATCH,
)
FAILURES = (403, 404, 412, 416, 429, 501)


class AssetKeyConverter(BaseConverter):
    """The key of an asset in a URL path, and the path below it: the rest of the path, with slashes at both ends."""

    part_isolating = False
    regex = ".+"
    weight = 200


@bp.route("/collections/<collection_id>/items/<item_id>/download/<key:asset_id>")
@bp.describes(*FAILURES, parameters=PARAMETERS, **RESPONSES)
def download_item_asset(collection_id: str, item_id: str, asset_id: str) -> Response:
    """Download an asset of an item. HEAD returns its headers, without a redirect."""
    return _download(collection_id, item_id, asset_id)


@bp.route("/collections/<collection_id>/download/<key:asset_id>")
@bp.describes(*FAILURES, parameters=PARAMETERS, **RESPONSES)
def download_collection_asset(collection_id: str, asset_id: str) -> Response:
    """Download an asset of a collection. HEAD returns its headers, without a redirect."""
    return _download(collection_id, None, asset_id)


def _download(collection: str, item: str | None, key: str) -> Response:
    """Return the bytes of an asset, or a redirect to them."""
    streamed = _must_stream(collection)
    grant = access.granted(collection, item, key)
    try:
        location = current.gate().resolve(grant)
        delivery = current.gate().deliver(grant, location, streamed=streamed, head=request.method == "HEAD")
    except Offline as offline:
        return orders.accepted(grant, offline)
    return _response(grant, delivery, location.store)


def _must_stream(collection: str) -> bool:
    """Return whether a redirect is not possible: by request, by setting, or for certain clients.

    Such clients send Authorization on to the store, which accepts either a signed URL or a header, not both.
    """
    delivery = request.args.get("delivery")
    if delivery not in (None, "stream"):
        raise BadQuery("delivery", f"expected stream, got {delivery!r}")
    settings = current.settings()
    forwards = "Authorization" in request.headers and request.user_agent.string.startswith(settings.stream_agents)
    return delivery is not None or collection in settings.stream_collections or forwards


def _response(grant: Grant, delivery: Delivery, store: str) -> Response:
    """Return the response. The asset is charged last, because earlier steps can fail."""
    if isinstance(delivery, Redirect):
        size = grant.asset.size if delivery.size is None else delivery.size
        if request.method == "HEAD":
            return _for_client(_head_of_redirect(grant, size), grant)
        response = _for_client(_redirect(grant, delivery), grant)
        current.gate().charge(grant, ByteRange(0, size, size), "redirect")
        return response
    part = ranges.part_of(delivery)
    sent = request.method == "GET" and part.status != ranges.NOT_MODIFIED
    if sent and delivery.length is None:
        delivery = buffers.Buffer({store}).with_length(grant.asset, delivery)
        part = ranges.part_of(delivery)
    response = _for_client(_stream(grant, delivery, part), grant)
    if sent:
        response.response = _bytes(grant, delivery, part, store)
    return response


def _for_client(response: Response, grant: Grant) -> Response:
    response.headers.update(grant.decision.headers)
    # The response depends on the client, see ``_must_stream``.
    response.vary.add("User-Agent")
    return response


# --- Redirects -------------------------------------------------------------------------------------------------------


def _redirect(grant: Grant, redirect: Redirect) -> Response:
    if not _URL.fullmatch(redirect.url):
        raise NoAnswer("The plugin of the store returned an invalid URL.")
    response = Response(status=307)
    del response.headers["Content-Type"]
    response.headers["Location"] = redirect.url
    response.autocorrect_location_header = False
    seconds = max(0, int(redirect.lifetime.total_seconds()) - REDIRECT_MARGIN_SECONDS)
    response.headers["Cache-Control"] = "no-store" if grant.decision.counted else f"private, max-age={seconds}"
    return response


def _head_of_redirect(grant: Grant, size: int | None) -> Response:
    """Return the response to HEAD for a store that only redirects: what is known without the store."""
    unknown = Stream(lambda _first, _length: iter(()), size)
    response = _stream(grant, unknown, ranges.Part(ranges.WHOLE, 0, size or 0))
    del response.headers["Accept-Ranges"]
    return response


# --- Streams ---------------------------------------------------------------------------------------------------------


def _stream(grant: Grant, stream: Stream, part: ranges.Part) -> Response:
    response = Response(status=part.status, content_type=_media_type(grant.asset, stream))
    # The body is neither compressed nor buffered.
    response.direct_passthrough = True
    _describe(response, grant, stream)
    if stream.length is None:
        response.automatically_set_content_length = False  # werkzeug would send 0
    elif part.status != ranges.NOT_MODIFIED:
        response.headers["Content-Length"] = str(part.length)
    if part.status == ranges.PART:
        last = part.first + part.length - 1
        response.headers["Content-Range"] = f"bytes {part.first}-{last}/{stream.length}"
    return response


def _describe(response: Response, grant: Grant, stream: Stream) -> None:
    headers = response.headers
    headers["Accept-Ranges"] = "bytes" if stream.ranges else "none"
    named = buffers.as_sent(grant.asset, stream)
    headers["Content-Disposition"] = content_disposition(FILE_NAMES[current.settings().file_names](named))
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
    """Return the media type of the asset, else that of the stream, else ``application/octet-stream``.

    If the bytes are changed, that of the stream takes precedence.
    """
    media_types = (asset.media_type, stream.content_type)
    for media_type in reversed(media_types) if stream.changed else media_types:
        if media_type and _MEDIA_TYPE.fullmatch(media_type):
            return media_type
    return OCTETS


def _digest(asset: Asset, stream: Stream) -> str | None:
    """Return ``file:checksum`` as Repr-Digest (RFC 9530) if it is a sha2-256 multihash of the stored bytes, else None.

    Repr-Digest is a digest of the encoded bytes. If they have a content coding, ``file:checksum`` is used only if
    ``file:size`` is the length of the encoded bytes.
    """
    if stream.changed or (stream.content_encoding and asset.size != stream.length):
        return None
    found = _SHA256.fullmatch(str(asset.properties.get("file:checksum", "")))
    try:
        return f"sha-256=:{base64.b64encode(binascii.unhexlify(found[1])).decode()}:" if found else None
    except binascii.Error:
        return None


def _bytes(grant: Grant, stream: Stream, part: ranges.Part, store: str) -> StreamBody:
    """Occupy a stream of this process, charge for the bytes, and open the store. If a step fails, no byte is sent."""
    body = StreamBody(current.gate().stream_finished, part.length, {store})
    try:
        body.begin(current.gate().charge(grant, ByteRange(part.first, part.length, stream.length), "stream"))
        body.chunks = stream.open(part.first, part.length) if part.length else iter(())
        if stream.changed:
            body.start()
    except BaseException:
        body.close()
        raise
    return body


class StreamBody:
    """The body of a response that occupies a stream of this process until it ends, fails, or its client disconnects.

    The result of a stream that has begun is reported then. A stream with another length than announced is aborted.

    Args:
        report: Function that reports the result of the stream.
        announced: Length in bytes that Content-Length announces.
        stores: The stores that the stream reads.
    """

    _lock = threading.Lock()
    _slot: StreamSlot | None = None
    _decision: DownloadDecision | None = None

    def __init__(self, report: Callable[[StreamResult], None], announced: int, stores: Iterable[str]) -> None:
        self._report = report
        self._announced = announced
        self._began, self._sent = 0.0, 0
        self.chunks: Iterator[bytes] = iter(())
        self._first: list[bytes] = []
        self._slot = StreamSlot(stores, current.settings().max_streams)

    def begin(self, download_decision: DownloadDecision) -> None:
        """Store the decision on the download, to report the result of its stream."""
        self._decision, self._began, self._sent = download_decision, time.perf_counter(), 0

    def start(self) -> None:
        """Read the first chunk, so that an error before it is still a response."""
        self._first = [chunk for chunk in [next(self.chunks, None)] if chunk is not None]

    def __del__(self) -> None:
        """Free the stream of a response that was never sent."""
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        slot = self._slot
        chunks = chain(self._first, self.chunks if slot is None else slot.timed(self.chunks))
        for chunk in exactly(chunks, self._announced):
            yield chunk
            # The server requests the next chunk after it has sent this one.
            self._sent += len(chunk)

    def close(self) -> None:
        """Free the stream of this process, and close the stream of the store."""
        try:
            buffers.close(self.chunks)
        finally:
            if self._slot is not None:
                self._slot.release()
            with StreamBody._lock:
                download_decision, self._decision = self._decision, None
            if download_decision is not None:
                self._report(self._result(download_decision))

    def _result(self, download_decision: DownloadDecision) -> StreamResult:
        complete = download_decision.byte_range is not None and self._sent == download_decision.byte_range.length
        return StreamResult(download_decision, self._sent, complete, time.perf_counter() - self._began)

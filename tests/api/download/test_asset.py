"""Downloads of single assets: redirects, streams, ranges, conditions, and the end of streams."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from stacflask import Decision, hookimpl
from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
Client = Any
EndpointResponse = Any
HERE = "/collections/collection/items/item/download/data"
STREAM = f"{HERE}?delivery=stream"


@pytest.fixture(autouse=True)
def _item(publish: Publish) -> None:
    publish(an_item(assets={"data": {"href": "s3://bucket/a/file.tif", "type": "image/tiff; application=geotiff"}}))


def content(store: Any) -> bytes:
    data: bytes = store.content
    return data


# --- Redirects --------------------------------------------------------------------------------------------------------


def test_get_redirects_to_the_store(download_client: Client) -> None:
    """GET is a 307 to the URL of the store, which is cached privately for less than the lifetime of the URL."""
    answer = download_client.get(HERE)
    assert (answer.status_code, answer.data) == (307, b"")
    assert answer.headers["Location"] == "https://store.example.org/signed?a=1&b=2"
    assert answer.headers["Cache-Control"] == "private, max-age=840"
    assert "Content-Type" not in answer.headers
    assert {"Authorization", "User-Agent"} <= set(answer.vary.as_set(preserve_casing=True))


def test_counted_downloads_are_not_cached(plug: Callable[..., Client], store: Any) -> None:
    """If each download counts, caches must store neither redirects nor bytes."""

    class Counts:
        @hookimpl
        def authorize(self) -> Decision:
            return Decision.allow("test", counted=True)

    client = plug(store, Counts())
    assert client.get(HERE).headers["Cache-Control"] == "no-store"
    assert client.get(STREAM).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("agent", "status"), [("Wget/1.21.4", 200), ("Python-urllib/3.11", 200), ("curl/8.5.0", 307), ("GDAL/3.10", 307)]
)
def test_clients_that_forward_credentials_get_a_stream(download_client: Client, agent: str, status: int) -> None:
    """Clients that would send Authorization on to the store get a stream, if they send Authorization."""
    assert download_client.get(HERE, headers={"User-Agent": agent}).status_code == 307
    assert download_client.get(HERE, headers={"User-Agent": agent, "Authorization": "Bearer x"}).status_code == status


def test_collections_can_be_streamed(plug: Callable[..., Client], store: Any, consent: Any, publish: Publish) -> None:
    """A setting lists collections whose assets are always streamed."""
    publish(an_item("item", "other"))
    client = plug(store, consent, environ={"STACFLASK_STREAM_COLLECTIONS": "collection"})
    assert client.get(HERE).status_code == 200
    assert client.get(HERE.replace("/collection/", "/other/")).status_code == 307


def test_a_wrong_delivery_parameter_is_an_error(download_client: Client) -> None:
    """An unknown value of ``delivery`` is an error that names the parameter."""
    answer = download_client.get(f"{HERE}?delivery=pigeon")
    assert (answer.status_code, answer.json["description"][:10]) == (400, "delivery: ")


# --- Streams ----------------------------------------------------------------------------------------------------------


def test_a_stream_has_all_bytes_and_headers(download_client: Client, store: Any) -> None:
    """A stream has all bytes and the headers that describe them, and is not compressed."""
    answer = download_client.get(STREAM, headers={"Accept-Encoding": "gzip"})
    assert (answer.status_code, answer.data) == (200, content(store))
    headers = answer.headers
    assert headers["Content-Length"] == str(len(content(store)))
    assert headers["Content-Type"] == "image/tiff; application=geotiff"
    assert headers["Content-Disposition"].startswith('attachment; filename="item_data.tif"')
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["ETag"] == '"v1"'
    assert headers["Last-Modified"] == "Wed, 01 May 2024 12:00:00 GMT"
    assert headers["Cache-Control"] == "private, no-cache"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Encoding" not in headers


def test_names_can_be_those_of_the_stored_files(plug: Callable[..., Client], store: Any, consent: Any) -> None:
    """A setting makes downloads have the names of the stored files."""
    client = plug(store, consent, environ={"STACFLASK_FILE_NAMES": "stored"})
    assert 'filename="file.tif"' in client.head(HERE).headers["Content-Disposition"]


def test_head_has_the_headers_of_get(download_client: Client, store: Any) -> None:
    """HEAD is a 200 with the headers of the stream. It opens no stream, and is never a redirect."""
    head, get = download_client.head(HERE), download_client.get(STREAM)
    differing = {"X-Request-ID", "Date"}
    assert (head.status_code, head.data, store.opened) == (200, b"", [(0, 1024)])
    assert {name: value for name, value in head.headers.items() if name not in differing} == {
        name: value for name, value in get.headers.items() if name not in differing
    }


def test_head_ignores_range(download_client: Client) -> None:
    """Range applies to GET only: HEAD with Range has the headers of the whole asset."""
    answer = download_client.head(HERE, headers={"Range": "bytes=0-1"})
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, "1024")


@pytest.mark.parametrize("given", ["text/html\r\nX: 1", "nonsense", "text/ä", "", "a/b; c"])
def test_invalid_media_types_are_octet_stream(download_client: Client, store: Any, given: str) -> None:
    """A media type that is not valid in a header is replaced."""
    item = an_item("odd", assets={"data": {"href": "s3://bucket/x", "type": given}})
    made = download_client.post("/collections/collection/items", json=item)
    if made.status_code == 201:
        answer = download_client.get("/collections/collection/items/odd/download/data?delivery=stream")
        assert answer.headers["Content-Type"] == "application/octet-stream"
    else:
        assert made.status_code == 400


def test_checksum_is_in_repr_digest(download_client: Client, publish: Publish) -> None:
    """A sha2-256 in file:checksum is sent as Repr-Digest. Other checksums are not."""
    digests = {"sha256": "1220" + "ab" * 32, "md5": "d50110" + "00" * 16, "short": "1220ab"}
    assets = {key: {"href": "s3://b/x", "file:checksum": digest} for key, digest in digests.items()}
    publish(an_item("sums", assets=assets))
    headers = {
        key: download_client.head(f"/collections/collection/items/sums/download/{key}").headers for key in assets
    }
    assert headers["sha256"]["Repr-Digest"] == f"sha-256=:{'q6ur' * 10}q6s=:"
    assert "Repr-Digest" not in headers["md5"]
    assert "Repr-Digest" not in headers["short"]


DESCRIBED = {"Content-Encoding": "gzip", "Content-Language": "de, en"}


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=5-9"}, {"Accept-Encoding": "gzip"}])
def test_codings_and_languages_of_the_store_are_sent(
    download_client: Client, store: Any, headers: dict[str, str]
) -> None:
    """Content-Encoding and Content-Language are sent for GET, HEAD and ranges. The stored bytes are unchanged."""
    store.described = (None, *DESCRIBED.values())
    get, head = download_client.get(STREAM, headers=headers), download_client.head(HERE, headers=headers)
    assert get.data == (content(store)[5:10] if "Range" in headers else content(store))
    for name, value in DESCRIBED.items():
        assert (get.headers[name], head.headers[name]) == (value, value)
    assert get.headers["ETag"] == head.headers["ETag"] == '"v1"'


def test_an_unchanged_coded_object_is_304(download_client: Client, store: Any) -> None:
    """Conditions apply to the stored bytes, for any content coding."""
    store.described = (None, *DESCRIBED.values())
    answer = download_client.get(STREAM, headers={"If-None-Match": '"v1"', "Accept-Encoding": "gzip"})
    assert (answer.status_code, answer.headers["ETag"]) == (304, '"v1"')


@pytest.mark.parametrize(
    ("given", "of_store", "expected"),
    [
        (None, "text/csv; charset=utf-8", "text/csv; charset=utf-8"),
        ("image/tiff", "text/csv", "image/tiff"),
        (None, "nonsense", "application/octet-stream"),
        (None, "text/html\r\nSet-Cookie: a=b", "application/octet-stream"),
    ],
)
def test_media_type_of_the_store_is_the_default(
    download_client: Client, store: Any, publish: Publish, given: str | None, of_store: str, expected: str
) -> None:
    """The media type of the store is sent if the asset has none."""
    publish(an_item("typed", assets={"data": {"href": "s3://b/x", **({"type": given} if given else {})}}))
    store.described = (of_store, None, None)
    answer = download_client.head("/collections/collection/items/typed/download/data")
    assert answer.headers["Content-Type"] == expected


@pytest.mark.parametrize("value", ["", "gz ip", "gzip\r\nX: 1", "gzip;q=1", "zip\u00e9"])
def test_invalid_codings_are_not_sent(download_client: Client, store: Any, value: str) -> None:
    """A coding or language that is not a list of tokens is not sent."""
    store.described = (None, value, value)
    answer = download_client.get(STREAM)
    assert answer.status_code == 200
    assert not DESCRIBED.keys() & set(answer.headers.keys())


@pytest.mark.parametrize(("size", "sent"), [(1024, True), (5000, False), (None, False)])
def test_digest_of_coded_bytes_needs_their_size(
    download_client: Client, store: Any, publish: Publish, size: int | None, sent: bool
) -> None:
    """file:checksum is sent as Repr-Digest of coded bytes only if file:size is their size."""
    sized = {"file:size": size} if size else {}
    publish(an_item("sum", assets={"data": {"href": "s3://b/x", "file:checksum": "1220" + "ab" * 32, **sized}}))
    store.described = (None, "gzip", None)
    headers = download_client.head("/collections/collection/items/sum/download/data").headers
    assert ("Repr-Digest" in headers) is sent


@pytest.mark.parametrize(("size", "held"), [(12.0, 12), (1.2e3, 1200)])
def test_sizes_may_be_written_with_a_fraction(download_client: Client, size: float, held: int) -> None:
    """In JSON, 12.0 is the integer 12: it is accepted as a size, and is an integer in a manifest."""
    item = an_item("sized", assets={"data": {"href": "s3://b/x", "file:size": size}})
    assert download_client.post("/collections/collection/items", json=item).status_code == 201
    body = {"items": [{"collection": "collection", "id": "sized"}]}
    (entry,) = download_client.post("/downloads", json=body).json["downloads"]
    assert (entry["size"], type(entry["size"])) == (held, int)


RANGES = [
    ("bytes=0-0", 206, (0, 1)),
    ("bytes=0-", 206, (0, 1024)),
    ("bytes=100-199", 206, (100, 200)),
    ("bytes=1000-5000", 206, (1000, 1024)),
    ("bytes=1023-", 206, (1023, 1024)),
    ("bytes=-1", 206, (1023, 1024)),
    ("bytes=-1024", 206, (0, 1024)),
    ("bytes=-5000", 206, (0, 1024)),
    ("Bytes = 5 - 9", 206, (5, 10)),
    ("bytes=0-99999999999999999999999", 206, (0, 1024)),
    ("bytes=1024-", 416, None),
    ("bytes=5000-6000", 416, None),
    ("bytes=-0", 416, None),
    # An invalid range, or several ranges: the whole asset, as HTTP allows.
    ("bytes=9-5", 200, (0, 1024)),
    ("bytes=-", 200, (0, 1024)),
    ("bytes=", 200, (0, 1024)),
    ("bytes=a-b", 200, (0, 1024)),
    ("bytes=0x1-2", 200, (0, 1024)),
    ("bytes=--1", 200, (0, 1024)),
    ("bytes=1.5-2", 200, (0, 1024)),
    ("bytes=0-1,4-5", 200, (0, 1024)),
    ("bytes=0-0,1-1,2-2", 200, (0, 1024)),
    ("items=0-1", 200, (0, 1024)),
    ("0-1", 200, (0, 1024)),
    ("bytes=0-" + "9" * 5000, 206, (0, 1024)),
    ("bytes=" + "0" * 5000 + "5-9", 206, (5, 10)),
    ("bytes=-" + "9" * 5000, 206, (0, 1024)),
    ("bytes=" + "9" * 5000 + "-", 416, None),
    # An empty element of a list is ignored.
    ("bytes=,5-9", 206, (5, 10)),
    ("bytes= 5-9 , ,", 206, (5, 10)),
    ("bytes=,", 200, (0, 1024)),
    ("bytes=\u0665-\u0669", 200, (0, 1024)),
]


def test_ranges_of_a_stream(download_client: Client, store: Any) -> None:
    """A range has exactly its bytes. A range outside of the asset is a 416. An invalid range has the whole asset."""
    for range_, status, expected in RANGES:
        store.opened.clear()
        answer = download_client.get(STREAM, headers={"Range": range_})
        assert answer.status_code == status, range_
        if expected is None:
            assert (answer.headers["Content-Range"], store.opened) == ("bytes */1024", []), range_
            assert answer.json["code"] == "RangeNotSatisfiable"
            continue
        first, end = expected
        assert answer.data == content(store)[first:end], range_
        assert answer.headers["Content-Length"] == str(end - first)
        assert store.opened == [(first, end - first)]
        assert answer.headers.get("Content-Range") == (f"bytes {first}-{end - 1}/1024" if status == 206 else None)


@pytest.mark.parametrize(
    ("range_", "status"),
    [(None, 200), ("bytes=-1", 200), ("bytes=-5", 200), ("bytes=-0", 416), ("bytes=0-", 416), ("bytes=0-0", 416)],
)
def test_ranges_of_an_empty_object(download_client: Client, store: Any, range_: str | None, status: int) -> None:
    """For an empty object, a suffix range is satisfiable (RFC 9110, 14.1.2), and all other ranges are not."""
    store.content = b""
    answer = download_client.get(STREAM, headers={"Range": range_} if range_ else {})
    assert answer.status_code == status
    if status == 200:
        assert (answer.data, answer.headers["Content-Length"], "Content-Range" in answer.headers) == (b"", "0", False)
    else:
        assert answer.headers["Content-Range"] == "bytes */0"


DATE, EARLIER, LATER = (f"Wed, 01 May 2024 {time} GMT" for time in ("12:00:00", "11:59:59", "12:00:01"))
CONDITIONS = [
    ({"If-None-Match": '"v1"'}, 304),
    ({"If-None-Match": 'W/"v1"'}, 304),
    ({"If-None-Match": '"x", "v1"'}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": '"v2"'}, 200),
    ({"If-None-Match": '"v2"', "If-Modified-Since": DATE}, 200),
    ({"If-Modified-Since": DATE}, 304),
    ({"If-Modified-Since": LATER}, 304),
    ({"If-Modified-Since": EARLIER}, 200),
    ({"If-Modified-Since": "yesterday"}, 200),
    ({"If-Match": '"v1"'}, 200),
    ({"If-Match": "*"}, 200),
    ({"If-Match": '"v2"'}, 412),
    ({"If-Match": 'W/"v1"'}, 412),
    ({"If-Match": '"v2"', "If-None-Match": '"v1"'}, 412),
    ({"If-Match": '"v1"', "If-None-Match": '"v1"'}, 304),
    ({"If-Unmodified-Since": DATE}, 200),
    ({"If-Unmodified-Since": EARLIER}, 412),
    ({"If-Match": '"v1"', "If-Unmodified-Since": EARLIER}, 200),
    ({"Range": "bytes=0-1", "If-Range": '"v1"'}, 206),
    ({"Range": "bytes=0-1", "If-Range": '"v2"'}, 200),
    ({"Range": "bytes=0-1", "If-Range": 'W/"v1"'}, 200),
    ({"Range": "bytes=0-1", "If-Range": DATE}, 206),
    ({"Range": "bytes=0-1", "If-Range": LATER}, 200),
    ({"Range": "bytes=0-1", "If-Range": EARLIER}, 200),
    ({"Range": "bytes=0-1", "If-Range": "nonsense"}, 200),
    ({"Range": "bytes=5000-", "If-Range": '"v2"'}, 200),
    ({"Range": "bytes=0-1", "If-None-Match": '"v1"'}, 304),
    ({"Range": "bytes=5000-", "If-Match": '"v2"'}, 412),
]


def test_conditions_of_get(download_client: Client, store: Any) -> None:
    """Conditions are evaluated in HTTP's order. If no bytes are sent, the store is not read."""
    for headers, status in CONDITIONS:
        store.opened.clear()
        answer = download_client.get(STREAM, headers=headers)
        assert answer.status_code == status, headers
        assert bool(store.opened) == (status in (200, 206)), headers
        if status == 304:
            assert (answer.data, answer.headers["ETag"]) == (b"", '"v1"')
        if status == 412:
            assert answer.json["code"] == "PreconditionFailed"


def test_conditions_of_head(download_client: Client) -> None:
    """HEAD evaluates conditions like GET."""
    assert download_client.head(HERE, headers={"If-None-Match": '"v1"'}).status_code == 304
    assert download_client.head(HERE, headers={"If-Match": '"v2"'}).status_code == 412


def test_conditions_of_a_store_without_validators(download_client: Client, store: Any) -> None:
    """If the store has neither ETag nor date, only the condition ``*`` holds."""
    store.etag = store.modified = None
    assert download_client.get(STREAM, headers={"If-None-Match": '"v1"', "If-Modified-Since": LATER}).status_code == 200
    assert download_client.get(STREAM, headers={"If-Match": '"v1"'}).status_code == 412
    assert download_client.get(STREAM, headers={"If-Match": "*"}).status_code == 200
    assert download_client.get(STREAM, headers={"Range": "bytes=0-1", "If-Range": DATE}).status_code == 200
    assert "ETag" not in download_client.head(HERE).headers


# --- Number of streams ------------------------------------------------------------------------------------------------


@pytest.fixture
def narrow(plug: Callable[..., Client], store: Any, consent: Any) -> Client:
    """Return a client of an application that allows two streams at a time."""
    return plug(store, consent, environ={"STACFLASK_MAX_STREAMS": "2"})


def begun(client: Client, path: str = STREAM) -> EndpointResponse:
    """Begin a download, and read only the first chunk."""
    answer = client.get(path, buffered=False)
    assert answer.status_code == 200
    assert next(iter(answer.response))
    return answer


def test_too_many_streams_are_503(narrow: Client) -> None:
    """Beyond the limit a stream is a 503 with Retry-After. Redirects, HEAD and the catalog are not affected."""
    one, two = begun(narrow), begun(narrow)
    answer = narrow.get(STREAM)
    assert (answer.status_code, answer.json["code"]) == (503, "TooManyStreams")
    assert int(answer.headers["Retry-After"]) > 0
    assert narrow.get(HERE).status_code == 307
    assert narrow.head(HERE).status_code == 200
    assert narrow.get(STREAM, headers={"If-None-Match": '"v1"'}).status_code == 304
    assert narrow.get("/search").status_code == 200
    one.close()
    two.close()
    assert narrow.get(STREAM).status_code == 200


def test_a_disconnected_client_frees_its_stream(narrow: Client, store: Any) -> None:
    """If a client disconnects, its stream is freed, and the stream of the store is closed."""
    for gone in range(1, 6):
        begun(narrow).close()
        assert store.closed == gone


def test_a_failing_store_frees_its_stream(narrow: Client, store: Any) -> None:
    """If a store fails during a stream, the stream ends and is freed."""
    store.breaks = True
    for _ in range(5):
        answer = narrow.get(STREAM, buffered=False)
        with pytest.raises(ConnectionError):
            list(answer.response)
        answer.close()
    store.breaks = False
    assert narrow.get(STREAM).data == content(store)


def test_a_store_that_does_not_open_frees_its_stream(narrow: Client, store: Any) -> None:
    """If a store fails before the first byte, the response is a 5xx in the usual form, and the stream is freed."""

    def fails(first: int, length: int) -> Any:
        raise ConnectionError

    opening, store.open = store.open, fails
    for _ in range(5):
        assert narrow.get(STREAM).status_code == 500
    store.open = opening
    assert narrow.get(STREAM).status_code == 200


def test_a_denied_charge_frees_its_stream(plug: Callable[..., Client], store: Any, consent: Any) -> None:
    """A download that ``charge`` denies opens nothing, and its stream is freed."""

    class Charges:
        used_up = True

        @hookimpl
        def charge(self) -> Decision | None:
            return Decision.deny("used up", kind="exhausted") if self.used_up else None

    charges = Charges()
    client = plug(store, consent, charges, environ={"STACFLASK_MAX_STREAMS": "1"})
    for _ in range(3):
        assert client.get(STREAM).status_code == 401
    assert store.opened == []
    charges.used_up = False
    assert client.get(STREAM).status_code == 200


def test_each_download_frees_its_stream(narrow: Client) -> None:
    """Successive downloads do not exhaust the streams."""
    assert [narrow.get(STREAM, headers={"Range": "bytes=5-"}).status_code for _ in range(10)] == [206] * 10


def test_an_invalid_header_of_a_plugin_occupies_no_stream(plug: Callable[..., Client], store: Any) -> None:
    """If a plugin sets an invalid header field, the download fails before a stream is occupied or opened."""

    class Smuggles:
        @hookimpl
        def authorize(self) -> Decision:
            return Decision.allow("test", headers={"X-Note": "a\r\nSet-Cookie: b"})

    client = plug(store, Smuggles(), environ={"STACFLASK_MAX_STREAMS": "1"})
    for _ in range(3):
        answer = client.get(STREAM)
        assert (answer.status_code, "Set-Cookie" in answer.headers) == (500, False)
    assert store.opened == []


# --- Assets that can be downloaded ------------------------------------------------------------------------------------


def test_every_key_can_be_downloaded(download_client: Client) -> None:
    """Keys with spaces, dots, colons, slashes at both ends, percent signs and Unicode lead to their asset."""
    keys = [
        "a b",
        "a.tif",
        "a:b",
        "a/b",
        "/a",
        "a/",
        "/",
        "a//b",
        "100%",
        "%2F",
        "a+b",
        "ä日",
        "a?b",
        "a#b",
        "...",
        "a\\b",
        "'\"",
    ]
    assets = {key: {"href": f"s3://bucket/{number}", "type": f"x/t{number}"} for number, key in enumerate(keys)}
    made = download_client.post("/collections/collection/items", json=an_item("keys", assets=assets))
    assert made.status_code == 201, made.text
    for number, key in enumerate(keys):
        href = made.json["assets"][key]["href"]
        assert href.rpartition("/")[2] == quote(key, safe="")
        answer = download_client.head(href)
        assert (answer.status_code, answer.headers.get("Content-Type")) == (200, f"x/t{number}"), key


def test_collection_assets_can_be_downloaded(download_client: Client, publish: Publish, store: Any) -> None:
    """Assets of collections are downloaded like those of items."""
    assets = {"a/b": {"href": "s3://bucket/c.zip", "type": "application/zip"}, "web": {"href": "https://example.org/"}}
    publish(a_collection("with", assets=assets))
    href = download_client.get("/collections/with").json["assets"]["a/b"]["href"]
    assert download_client.get(href).status_code == 307
    assert download_client.get(f"{href}?delivery=stream").data == content(store)
    assert download_client.head(href).headers["Content-Type"] == "application/zip"
    assert download_client.get("/collections/with/download/web").status_code == 404
    assert download_client.get("/collections/with/download/nosuch").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/collections/nosuch/items/item/download/data",
        "/collections/collection/items/nosuch/download/data",
        "/collections/collection/items/item/download/nosuch",
        "/collections/collection/items/item/download/",
        "/collections/collection/items/item/download/data/",
        "/collections/collection/items/item/download/data/more",
        "/collections/collection/download/data",
        "/collections/nosuch/download/data",
    ],
)
def test_an_unknown_asset_is_404(download_client: Client, store: Any, path: str) -> None:
    """An unknown collection, item or asset is a 404 for GET and HEAD, and no store is called."""
    answer = download_client.get(path)
    assert (answer.status_code, answer.json["code"]) == (404, "NotFound")
    assert download_client.head(path).status_code == 404
    assert store.opened == []


def test_public_hrefs_are_not_managed(download_client: Client, publish: Publish) -> None:
    """An asset with a public href keeps it, and cannot be downloaded through this server without a setting."""
    publish(an_item("web", assets={"data": {"href": "https://example.org/a.tif"}}))
    assert (
        download_client.get("/collections/collection/items/web").json["assets"]["data"]["href"]
        == "https://example.org/a.tif"
    )
    assert download_client.get("/collections/collection/items/web/download/data").status_code == 404


def test_errors_of_stores_are_503_and_404(plug: Callable[..., Client], store: Any, consent: Any) -> None:
    """A store that cannot be reached is a 503 with Retry-After, a missing object a 404 with its own code."""
    from stacflask import Missing, Unavailable

    class Away:
        error: Exception = Unavailable("away", retry_after=9)

        @hookimpl(tryfirst=True)
        def deliver(self) -> None:
            raise self.error

    away = Away()
    client = plug(away, store, consent)
    answer = client.get(HERE)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "9")
    away.error = Missing("no object")
    answer = client.get(HERE)
    assert (answer.status_code, answer.json["code"]) == (404, "ObjectMissing")

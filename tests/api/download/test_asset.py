"""Downloads: redirects and streams, ranges and conditions, and what a stream does when somebody goes."""

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


def test_get_redirects(door: Client) -> None:
    """GET is 307 to the store's address as it is, cached privately and for less than the address lives."""
    answer = door.get(HERE)
    assert (answer.status_code, answer.data) == (307, b"")
    assert answer.headers["Location"] == "https://store.example.org/signed?a=1&b=2"
    assert answer.headers["Cache-Control"] == "private, max-age=840"
    assert "Content-Type" not in answer.headers
    assert {"Authorization", "User-Agent"} <= set(answer.vary.as_set(preserve_casing=True))


def test_counted_downloads_are_not_cached(plug: Callable[..., Client], store: Any) -> None:
    """Where each download counts, no cache may answer in our place, neither a redirect nor bytes."""

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
def test_clients_that_send_credentials_on(door: Client, agent: str, status: int) -> None:
    """Clients that would send their Authorization on to the store get the bytes from here, if they send one at all."""
    assert door.get(HERE, headers={"User-Agent": agent}).status_code == 307
    assert door.get(HERE, headers={"User-Agent": agent, "Authorization": "Bearer x"}).status_code == status


def test_collections_that_are_streamed(plug: Callable[..., Client], store: Any, consent: Any, publish: Publish) -> None:
    """A setting names collections whose bytes come from here always."""
    publish(an_item("item", "other"))
    client = plug(store, consent, environ={"STACFLASK_STREAM_COLLECTIONS": "collection"})
    assert client.get(HERE).status_code == 200
    assert client.get(HERE.replace("/collection/", "/other/")).status_code == 307


def test_wrong_wish(door: Client) -> None:
    """An unknown way of delivery is an error that names the parameter."""
    answer = door.get(f"{HERE}?delivery=pigeon")
    assert (answer.status_code, answer.json["description"][:10]) == (400, "delivery: ")


# --- Streams ----------------------------------------------------------------------------------------------------------


def test_stream_is_the_whole(door: Client, store: Any) -> None:
    """All bytes come, with what a client needs to know of them, and are not compressed."""
    answer = door.get(STREAM, headers={"Accept-Encoding": "gzip"})
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
    """A setting names downloads as the files in the store are named."""
    client = plug(store, consent, environ={"STACFLASK_FILE_NAMES": "stored"})
    assert 'filename="file.tif"' in client.head(HERE).headers["Content-Disposition"]


def test_head_says_what_get_would(door: Client, store: Any) -> None:
    """HEAD is 200 with the header fields of the stream, opens nothing, and is never a redirect."""
    head, get = door.head(HERE), door.get(STREAM)
    differing = {"X-Request-ID", "Date"}
    assert (head.status_code, head.data, store.opened) == (200, b"", [(0, 1024)])
    assert {name: value for name, value in head.headers.items() if name not in differing} == {
        name: value for name, value in get.headers.items() if name not in differing
    }


def test_head_takes_no_range(door: Client) -> None:
    """Ranges are for GET: a HEAD with one is the whole's."""
    answer = door.head(HERE, headers={"Range": "bytes=0-1"})
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, "1024")


@pytest.mark.parametrize("given", ["text/html\r\nX: 1", "nonsense", "text/ä", "", "a/b; c"])
def test_strange_media_types_are_octets(door: Client, store: Any, given: str) -> None:
    """A media type that could not stand in a header is not put into one."""
    item = an_item("odd", assets={"data": {"href": "s3://bucket/x", "type": given}})
    made = door.post("/collections/collection/items", json=item)
    if made.status_code == 201:
        answer = door.get("/collections/collection/items/odd/download/data?delivery=stream")
        assert answer.headers["Content-Type"] == "application/octet-stream"
    else:
        assert made.status_code == 400


def test_checksum_is_told(door: Client, publish: Publish) -> None:
    """A sha2-256 in file:checksum is told as Repr-Digest, any other is not."""
    digests = {"sha256": "1220" + "ab" * 32, "md5": "d50110" + "00" * 16, "short": "1220ab"}
    assets = {key: {"href": "s3://b/x", "file:checksum": digest} for key, digest in digests.items()}
    publish(an_item("sums", assets=assets))
    told = {key: door.head(f"/collections/collection/items/sums/download/{key}").headers for key in assets}
    assert told["sha256"]["Repr-Digest"] == f"sha-256=:{'q6ur' * 10}q6s=:"
    assert "Repr-Digest" not in told["md5"]
    assert "Repr-Digest" not in told["short"]


DESCRIBED = {"Content-Encoding": "gzip", "Content-Language": "de, en"}


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=5-9"}, {"Accept-Encoding": "gzip"}])
def test_codings_and_languages_are_passed_on(door: Client, store: Any, headers: dict[str, str]) -> None:
    """What describes the stored bytes stands beside them, by GET and HEAD, whole and in part; they stay as they are."""
    store.described = (None, *DESCRIBED.values())
    get, head = door.get(STREAM, headers=headers), door.head(HERE, headers=headers)
    assert get.data == (content(store)[5:10] if "Range" in headers else content(store))
    for name, value in DESCRIBED.items():
        assert (get.headers[name], head.headers[name]) == (value, value)
    assert get.headers["ETag"] == head.headers["ETag"] == '"v1"'


def test_an_unchanged_coded_object_is_304(door: Client, store: Any) -> None:
    """A condition holds for the stored bytes, whatever their coding."""
    store.described = (None, *DESCRIBED.values())
    answer = door.get(STREAM, headers={"If-None-Match": '"v1"', "Accept-Encoding": "gzip"})
    assert (answer.status_code, answer.headers["ETag"]) == (304, '"v1"')


@pytest.mark.parametrize(
    ("given", "of_store", "told"),
    [
        (None, "text/csv; charset=utf-8", "text/csv; charset=utf-8"),
        ("image/tiff", "text/csv", "image/tiff"),
        (None, "nonsense", "application/octet-stream"),
        (None, "text/html\r\nSet-Cookie: a=b", "application/octet-stream"),
    ],
)
def test_media_type_of_the_store(
    door: Client, store: Any, publish: Publish, given: str | None, of_store: str, told: str
) -> None:
    """The store's media type is passed on where the asset has none of its own."""
    publish(an_item("typed", assets={"data": {"href": "s3://b/x", **({"type": given} if given else {})}}))
    store.described = (of_store, None, None)
    answer = door.head("/collections/collection/items/typed/download/data")
    assert answer.headers["Content-Type"] == told


@pytest.mark.parametrize("value", ["", "gz ip", "gzip\r\nX: 1", "gzip;q=1", "zip\u00e9"])
def test_strange_codings_are_not_passed_on(door: Client, store: Any, value: str) -> None:
    """A coding or language that is no list of tokens is not put into a header."""
    store.described = (None, value, value)
    answer = door.get(STREAM)
    assert answer.status_code == 200
    assert not DESCRIBED.keys() & set(answer.headers.keys())


@pytest.mark.parametrize(("size", "told"), [(1024, True), (5000, False), (None, False)])
def test_digest_of_coded_bytes(door: Client, store: Any, publish: Publish, size: int | None, told: bool) -> None:
    """Repr-Digest is of the coded bytes: file:checksum is taken for it if file:size is theirs, too."""
    sized = {"file:size": size} if size else {}
    publish(an_item("sum", assets={"data": {"href": "s3://b/x", "file:checksum": "1220" + "ab" * 32, **sized}}))
    store.described = (None, "gzip", None)
    headers = door.head("/collections/collection/items/sum/download/data").headers
    assert ("Repr-Digest" in headers) is told


@pytest.mark.parametrize(("size", "held"), [(12.0, 12), (1.2e3, 1200)])
def test_sizes_may_be_written_with_a_fraction(door: Client, size: float, held: int) -> None:
    """In JSON, 12.0 is the integer 12: it is taken, and told as one in a list of downloads."""
    item = an_item("sized", assets={"data": {"href": "s3://b/x", "file:size": size}})
    assert door.post("/collections/collection/items", json=item).status_code == 201
    wish = {"items": [{"collection": "collection", "id": "sized"}]}
    (entry,) = door.post("/downloads", json=wish).json["downloads"]
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
    # Not understood, or more than one: the whole, as HTTP allows.
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
    # An empty element of a list is none.
    ("bytes=,5-9", 206, (5, 10)),
    ("bytes= 5-9 , ,", 206, (5, 10)),
    ("bytes=,", 200, (0, 1024)),
    ("bytes=\u0665-\u0669", 200, (0, 1024)),
]


def test_ranges(door: Client, store: Any) -> None:
    """One range is answered with exactly its bytes, one outside with 416, and what is no range with the whole."""
    for asked, status, expected in RANGES:
        store.opened.clear()
        answer = door.get(STREAM, headers={"Range": asked})
        assert answer.status_code == status, asked
        if expected is None:
            assert (answer.headers["Content-Range"], store.opened) == ("bytes */1024", []), asked
            assert answer.json["code"] == "RangeNotSatisfiable"
            continue
        first, end = expected
        assert answer.data == content(store)[first:end], asked
        assert answer.headers["Content-Length"] == str(end - first)
        assert store.opened == [(first, end - first)]
        assert answer.headers.get("Content-Range") == (f"bytes {first}-{end - 1}/1024" if status == 206 else None)


@pytest.mark.parametrize(
    ("asked", "status"),
    [(None, 200), ("bytes=-1", 200), ("bytes=-5", 200), ("bytes=-0", 416), ("bytes=0-", 416), ("bytes=0-0", 416)],
)
def test_ranges_of_nothing(door: Client, store: Any, asked: str | None, status: int) -> None:
    """Of an empty object a suffix is satisfiable (RFC 9110, 14.1.2) and is all of it, and no byte position is."""
    store.content = b""
    answer = door.get(STREAM, headers={"Range": asked} if asked else {})
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


def test_conditions(door: Client, store: Any) -> None:
    """Conditions are weighed in HTTP's order, and where no bytes are due none are asked for."""
    for headers, status in CONDITIONS:
        store.opened.clear()
        answer = door.get(STREAM, headers=headers)
        assert answer.status_code == status, headers
        assert bool(store.opened) == (status in (200, 206)), headers
        if status == 304:
            assert (answer.data, answer.headers["ETag"]) == (b"", '"v1"')
        if status == 412:
            assert answer.json["code"] == "PreconditionFailed"


def test_conditions_of_head(door: Client) -> None:
    """HEAD answers conditions as GET does."""
    assert door.head(HERE, headers={"If-None-Match": '"v1"'}).status_code == 304
    assert door.head(HERE, headers={"If-Match": '"v2"'}).status_code == 412


def test_store_without_validators(door: Client, store: Any) -> None:
    """Where the store knows no ETag and no date, no condition holds but the star's."""
    store.etag = store.modified = None
    assert door.get(STREAM, headers={"If-None-Match": '"v1"', "If-Modified-Since": LATER}).status_code == 200
    assert door.get(STREAM, headers={"If-Match": '"v1"'}).status_code == 412
    assert door.get(STREAM, headers={"If-Match": "*"}).status_code == 200
    assert door.get(STREAM, headers={"Range": "bytes=0-1", "If-Range": DATE}).status_code == 200
    assert "ETag" not in door.head(HERE).headers


# --- Places among the streams -----------------------------------------------------------------------------------------


@pytest.fixture
def narrow(plug: Callable[..., Client], store: Any, consent: Any) -> Client:
    """Give a client of an application that streams to two at a time."""
    return plug(store, consent, environ={"STACFLASK_MAX_STREAMS": "2"})


def begun(client: Client, path: str = STREAM) -> EndpointResponse:
    """Begin a download and read only the first piece."""
    answer = client.get(path, buffered=False)
    assert answer.status_code == 200
    assert next(iter(answer.response))
    return answer


def test_too_many_streams_are_503_while_all_else_answers(narrow: Client) -> None:
    """Beyond the bound a stream is 503 with Retry-After; redirects, HEAD and the catalogue are as ever."""
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


def test_place_is_given_back_when_the_client_goes(narrow: Client, store: Any) -> None:
    """A client that goes half-way leaves its place, and the store's side is closed."""
    for gone in range(1, 6):
        begun(narrow).close()
        assert store.closed == gone


def test_place_is_given_back_when_the_store_breaks(narrow: Client, store: Any) -> None:
    """A store that breaks in the middle ends the stream, and the place is free again."""
    store.breaks = True
    for _ in range(5):
        answer = narrow.get(STREAM, buffered=False)
        with pytest.raises(ConnectionError):
            list(answer.response)
        answer.close()
    store.breaks = False
    assert narrow.get(STREAM).data == content(store)


def test_place_is_given_back_when_the_store_does_not_open(narrow: Client, store: Any) -> None:
    """A store that fails before the first byte is a 5xx in the usual form, and holds no place."""

    def fails(first: int, length: int) -> Any:
        raise ConnectionError

    opening, store.open = store.open, fails
    for _ in range(5):
        assert narrow.get(STREAM).status_code == 500
    store.open = opening
    assert narrow.get(STREAM).status_code == 200


def test_place_is_given_back_when_the_booking_fails(plug: Callable[..., Client], store: Any, consent: Any) -> None:
    """A download that is refused at the last moment opens nothing and holds no place."""

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


def test_place_is_given_back_after_each_download(narrow: Client) -> None:
    """Downloads one after the other never run out of places."""
    assert [narrow.get(STREAM, headers={"Range": "bytes=5-"}).status_code for _ in range(10)] == [206] * 10


def test_answer_that_cannot_be_made_holds_no_place(plug: Callable[..., Client], store: Any) -> None:
    """Where a plugin's header field is impossible, the download fails before anything is taken or opened."""

    class Smuggles:
        @hookimpl
        def authorize(self) -> Decision:
            return Decision.allow("test", headers={"X-Note": "a\r\nSet-Cookie: b"})

    client = plug(store, Smuggles(), environ={"STACFLASK_MAX_STREAMS": "1"})
    for _ in range(3):
        answer = client.get(STREAM)
        assert (answer.status_code, "Set-Cookie" in answer.headers) == (500, False)
    assert store.opened == []


# --- What there is to download ----------------------------------------------------------------------------------------


def test_any_key_end_to_end(door: Client) -> None:
    """Keys with spaces, dots, colons, slashes at either end, percent signs and unicode lead to their own asset."""
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
    made = door.post("/collections/collection/items", json=an_item("keys", assets=assets))
    assert made.status_code == 201, made.text
    for number, key in enumerate(keys):
        href = made.json["assets"][key]["href"]
        assert href.rpartition("/")[2] == quote(key, safe="")
        answer = door.head(href)
        assert (answer.status_code, answer.headers.get("Content-Type")) == (200, f"x/t{number}"), key


def test_collection_assets(door: Client, publish: Publish, store: Any) -> None:
    """Assets of collections are downloaded like those of items."""
    assets = {"a/b": {"href": "s3://bucket/c.zip", "type": "application/zip"}, "web": {"href": "https://example.org/"}}
    publish(a_collection("with", assets=assets))
    href = door.get("/collections/with").json["assets"]["a/b"]["href"]
    assert door.get(href).status_code == 307
    assert door.get(f"{href}?delivery=stream").data == content(store)
    assert door.head(href).headers["Content-Type"] == "application/zip"
    assert door.get("/collections/with/download/web").status_code == 404
    assert door.get("/collections/with/download/nosuch").status_code == 404


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
def test_unknown_is_404(door: Client, store: Any, path: str) -> None:
    """An unknown collection, item or asset is 404, by GET and by HEAD, and no store is asked."""
    answer = door.get(path)
    assert (answer.status_code, answer.json["code"]) == (404, "NotFound")
    assert door.head(path).status_code == 404
    assert store.opened == []


def test_ordinary_hrefs_are_not_ours(door: Client, publish: Publish) -> None:
    """An asset with an ordinary href keeps it, and is not downloaded from here, unless a setting says so."""
    publish(an_item("web", assets={"data": {"href": "https://example.org/a.tif"}}))
    assert door.get("/collections/collection/items/web").json["assets"]["data"]["href"] == "https://example.org/a.tif"
    assert door.get("/collections/collection/items/web/download/data").status_code == 404


def test_store_that_may_be_asked_again(plug: Callable[..., Client], store: Any, consent: Any) -> None:
    """A store that is away is 503 with Retry-After, an object that is missing 404 with a code of its own."""
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

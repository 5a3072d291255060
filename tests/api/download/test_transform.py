"""Streams that plugins transform: they never carry what describes the stored bytes, and are never skipped."""

import gzip
import hashlib
import io
import itertools
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from textwrap import indent
from typing import Any

import pytest

import stacflask
from stacflask import Decision, Redirect, Refused, SettingError, SignedQueries, Stream, Unavailable, hookimpl
from stacflask.testing import HookRunner, MemoryStore, an_asset, an_item, as_user
from tests.documented import DOCS, blocks

Client = Any
HERE = "/collections/collection/items/item/download/data"
ZIP = "/collections/collection/items/item/download.zip"
MARK = b"for ann\n"
CHECKSUM = f"1220{hashlib.sha256(b'stored').hexdigest()}"


@pytest.fixture(autouse=True)
def _item(publish: Callable[..., None]) -> None:
    described = {"type": "text/plain", "file:checksum": CHECKSUM, "file:size": 1024}
    publish(an_item(assets={"data": {"href": "s3://bucket/a/file.txt", **described}}))


class Marks:
    """Puts a line before the bytes of each asset, and demands the stream. Records the charged bytes and the results."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.demands = True
        self.error: Exception | None = None
        self.error_after: Exception | None = None
        self.charged: list[Any] = []
        self.finished: list[tuple[int, bool]] = []

    @hookimpl
    def authorize(self) -> Decision:
        """Demand the stream."""
        return Decision.abstain("marked", stream=self.demands)

    @hookimpl
    def transform(self, stream: Stream) -> Stream:
        """Put a line before the bytes."""
        return stream.transformed(self._mark, **self.options)

    @hookimpl
    def charge(self, byte_range: Any) -> None:
        """Record the charged bytes."""
        self.charged.append((byte_range.first, byte_range.length, byte_range.size))

    @hookimpl
    def stream_finished(self, stream_result: Any) -> None:
        """Record the result."""
        self.finished.append((stream_result.sent, stream_result.complete))

    def _mark(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        if self.error and next(chunks):
            raise self.error
        yield MARK
        if self.error_after:
            raise self.error_after
        yield from chunks


@pytest.fixture
def marks() -> Marks:
    """Return a plugin whose results have an unknown length."""
    return Marks()


@pytest.fixture
def client(plug: Callable[..., Client], store: Any, consent: Any, marks: Marks) -> Client:
    """Return a client of an application whose downloads are marked."""
    return plug(store, consent, marks)


def of_length(store: Any, **options: Any) -> Marks:
    """Return a plugin whose results have a known length."""
    return Marks(length=len(MARK) + len(store.content), **options)


# --- Header fields ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
def test_a_transformed_stream_has_its_own_length(
    plug: Callable[..., Client], store: Any, consent: Any, known: bool
) -> None:
    """The length is that of the transformed bytes, whether or not the plugin states it."""
    answer = plug(store, consent, of_length(store) if known else Marks()).get(HERE)
    assert (answer.status_code, answer.data) == (200, MARK + store.content)
    assert answer.headers["Content-Length"] == str(len(MARK) + len(store.content))


def test_a_transformed_stream_has_no_description_of_the_stored_bytes(client: Client) -> None:
    """ETag, Last-Modified and digest of the stored bytes are not sent."""
    for answer in (client.get(HERE), client.head(HERE)):
        assert answer.status_code == 200
        assert not {"ETag", "Last-Modified", "Repr-Digest"} & set(answer.headers.keys())


def test_head_of_an_unknown_length_reads_nothing(client: Client, store: Any) -> None:
    """HEAD has no Content-Length if the length is not known, and the store is not read."""
    answer = client.head(HERE)
    assert "Content-Length" not in answer.headers
    assert store.opened == []


def test_head_of_a_known_length_has_it(plug: Callable[..., Client], store: Any, consent: Any) -> None:
    """HEAD has the length that the plugin stated."""
    answer = plug(store, consent, of_length(store)).head(HERE)
    assert answer.headers["Content-Length"] == str(len(MARK) + len(store.content))


def test_the_type_of_the_transformed_bytes_takes_precedence(
    plug: Callable[..., Client], store: Any, consent: Any
) -> None:
    """Media type and file name are those of the result."""
    answer = plug(store, consent, Marks(content_type="image/png")).get(HERE)
    assert answer.headers["Content-Type"] == "image/png"
    assert 'filename="item_data.png"' in answer.headers["Content-Disposition"]


def test_the_etag_of_a_result_serves_conditions(plug: Callable[..., Client], store: Any, consent: Any) -> None:
    """If-None-Match is compared with the ETag of the result, and then nothing is read."""
    client = plug(store, consent, Marks(etag='"v1-ann"'))
    assert client.get(HERE).headers["ETag"] == '"v1-ann"'
    assert client.get(HERE, headers={"If-None-Match": '"v1-ann"'}).status_code == 304
    assert client.get(HERE, headers={"If-None-Match": '"v1"'}).status_code == 200
    assert len(store.opened) == 2


# --- Ranges -----------------------------------------------------------------------------------------------------------


def test_ranges_of_a_transformed_stream_are_ignored(client: Client, store: Any) -> None:
    """A Range gets the whole result, because the plugin can only produce all of it."""
    answer = client.get(HERE, headers={"Range": "bytes=2-4"})
    assert (answer.status_code, answer.headers["Accept-Ranges"]) == (200, "none")
    assert answer.data == MARK + store.content


def test_a_transformation_with_ranges_gets_them(plug: Callable[..., Client], store: Any, consent: Any) -> None:
    """A plugin that can produce any part of its result has ranges."""

    class Inverts(Marks):
        @hookimpl
        def transform(self, stream: Stream) -> Stream:
            def read(first: int, length: int) -> Iterator[bytes]:
                return (bytes(255 - byte for byte in chunk) for chunk in stream.open(first, length))

            return replace(stream, open=read, etag='"inverted"', changed=True)

    answer = plug(store, consent, Inverts()).get(HERE, headers={"Range": "bytes=2-4"})
    assert (answer.status_code, answer.data) == (206, bytes([253, 252, 251]))


# --- Demands ----------------------------------------------------------------------------------------------------------


def test_a_demanded_stream_is_never_redirected(client: Client, store: Any) -> None:
    """A download whose decision demands the stream is streamed, although the store prefers redirects."""
    assert client.get(HERE).data == MARK + store.content


class Presigns:
    """Presigns each asset, and signs download URLs."""

    @hookimpl
    def presign(self, assets: Any) -> list[Redirect]:
        """Return a URL of the store for each asset."""
        return [Redirect("https://store.example.org/signed", timedelta(minutes=15))] * len(assets)

    @hookimpl
    def sign_queries(self, assets: Any) -> SignedQueries:
        """Return a query for each asset."""
        return SignedQueries(["token=t"] * len(assets), timedelta(minutes=15))


PAGES: list[tuple[str, str, Any]] = [
    ("GET", "/search", None),
    ("GET", "/collections/collection/items", None),
    ("GET", "/collections/collection/items/item", None),
    ("POST", "/downloads", {"search": {}}),
    ("POST", "/downloads", {"items": [{"collection": "collection", "id": "item"}]}),
]


@pytest.mark.parametrize(("method", "path", "body"), PAGES)
@pytest.mark.parametrize("demands", [True, False])
def test_no_page_has_a_store_url_of_a_demanded_stream(
    plug: Callable[..., Client],
    store: Any,
    consent: Any,
    marks: Marks,
    method: str,
    path: str,
    body: Any,
    demands: bool,
) -> None:
    """Signed pages and manifests have signed download URLs instead of URLs of the store if a stream is demanded."""
    marks.demands = demands
    text = plug(store, consent, marks, Presigns()).open(f"{path}?hrefs=signed", method=method, json=body).text
    assert ("https://store.example.org/signed" in text) is not demands
    assert ("/download/data?token=t" in text) is demands


@pytest.mark.parametrize("name", ["json", "metalink", "aria2"])
def test_manifests_have_no_size_and_checksum_of_a_demanded_stream(client: Client, name: str) -> None:
    """Clients compare manifests with what they download, so size and checksum of the stored bytes are left out."""
    text = client.post(f"/downloads?f={name}", json={"search": {}}).text
    assert "download/data" in text
    assert CHECKSUM[4:] not in text
    assert "1024" not in text


def test_a_transformation_without_a_demand_is_an_error(client: Client, marks: Marks, store: Any) -> None:
    """If the decision demands no stream, a redirect would skip the transformation, so a stream is refused."""
    marks.demands = False
    answer = client.get(f"{HERE}?delivery=stream")
    assert answer.status_code == 500
    assert store.opened == []


def test_a_plugin_that_transforms_must_authorize(plug: Callable[..., Client]) -> None:
    """A plugin that transforms but cannot demand the stream stops the start."""

    class Transforms:
        @hookimpl
        def transform(self) -> None:
            """Leave the stream unchanged."""

    with pytest.raises(SettingError, match="implements transform, and must also implement authorize"):
        plug(Transforms())


def test_transform_cannot_be_a_wrapper(plug: Callable[..., Client]) -> None:
    """A wrapper stops the start, because the plugins get each other's streams."""

    class Wraps:
        @hookimpl
        def authorize(self) -> None:
            """Return no opinion."""

        @hookimpl(wrapper=True)
        def transform(self) -> Iterator[Any]:
            return (yield)

    with pytest.raises(SettingError, match="transform cannot be a wrapper"):
        plug(Wraps())


@pytest.mark.parametrize(
    "change", [{"etag": '"v1"', "changed": True}, {"length": 3, "changed": False}, {"etag": None, "changed": False}]
)
def test_a_result_that_contradicts_itself_is_an_error(
    plug: Callable[..., Client], store: Any, consent: Any, change: dict[str, Any]
) -> None:
    """Changed bytes cannot have the ETag of the store, and unchanged bytes have its length and ETag."""

    class Contradicts(Marks):
        @hookimpl
        def transform(self, stream: Stream) -> Stream:
            return replace(stream, **change)

    assert plug(store, consent, Contradicts()).get(HERE).status_code == 500
    assert store.opened == []


def test_transformations_are_combined(plug: Callable[..., Client], store: Any, consent: Any) -> None:
    """Each plugin gets the stream of the plugin further left."""

    class Ends(Marks):
        def _mark(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
            yield from chunks
            yield b"end"

    assert plug(store, consent, Marks(), Ends()).get(HERE).data == MARK + store.content + b"end"


# --- Errors and costs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("error", "status"), [(Unavailable("busy"), 503), (ValueError("no image"), 500)])
def test_a_failure_before_the_first_byte_is_an_error_response(
    plug: Callable[..., Client], store: Any, consent: Any, known: bool, error: Exception, status: int
) -> None:
    """A transformation that fails at once is an error response, never the stored bytes."""
    marks = of_length(store) if known else Marks()
    marks.error = error
    answer = plug(store, consent, marks).get(HERE)
    assert answer.status_code == status
    assert store.content[:4] not in answer.data
    assert store.closed == 1


def test_a_failure_after_the_first_byte_breaks_the_connection(
    plug: Callable[..., Client], store: Any, consent: Any
) -> None:
    """A transformation that fails later ends the connection early, so that the client does not accept the result."""
    marks = of_length(store)
    marks.error_after = ValueError("no image")
    answer = plug(store, consent, marks).get(HERE, buffered=False)
    assert answer.status_code == 200
    chunks = answer.iter_encoded()
    assert next(chunks) == MARK
    with pytest.raises(ValueError, match="no image"):
        next(chunks)
    answer.close()
    assert marks.finished == [(len(MARK), False)]


def test_a_failure_of_an_unknown_length_is_an_error_response(client: Client, marks: Marks) -> None:
    """A stream of unknown length is complete before it is sent, so that each error is a response, and free."""
    marks.error_after = ValueError("no image")
    assert client.get(HERE).status_code == 500
    assert marks.charged == []


def test_a_refused_transformation_is_a_denial(plug: Callable[..., Client], store: Any, consent: Any) -> None:
    """A plugin can refuse an asset that it cannot transform."""

    class Refuses(Marks):
        @hookimpl
        def transform(self, stream: Stream) -> Stream:
            raise Refused(Decision.deny("too large", detail="This image is too large."))

    answer = plug(store, consent, Refuses()).get(HERE)
    assert answer.status_code == 401
    assert "This image is too large." in answer.json["description"]


def test_the_bytes_that_are_sent_are_charged(client: Client, marks: Marks, store: Any) -> None:
    """Charge and result have the length of the transformed bytes."""
    assert client.get(HERE).data
    length = len(MARK) + len(store.content)
    assert marks.charged == [(0, length, length)]
    assert marks.finished == [(length, True)]


def test_the_source_is_closed_if_the_client_leaves(plug: Callable[..., Client], store: Any, consent: Any) -> None:
    """The stream of the store is closed, although the function of the plugin is not at its end."""
    answer = plug(store, consent, of_length(store)).get(HERE, buffered=False)
    chunks = answer.iter_encoded()
    assert next(chunks) + next(chunks)
    answer.close()
    assert store.closed == 1


def test_an_unknown_length_has_a_limit(
    plug: Callable[..., Client], store: Any, consent: Any, marks: Marks, capfd: pytest.CaptureFixture[str]
) -> None:
    """A result of unknown length that exceeds the limit of the deployment is refused, and its source closed.

    The response has the limit with its unit. The log also has the setting, the asset and the plugin.
    """
    limit = {"STACFLASK_MAX_BUFFERED_BYTES": str(len(store.content))}
    answer = plug(store, consent, marks, environ=limit).get(HERE)
    assert (answer.status_code, answer.json["code"]) == (501, "ResultTooLarge")
    assert f"more than {len(store.content)} bytes" in answer.json["description"]
    logged = next(line for line in capfd.readouterr().err.splitlines() if "unknown length too long" in line)
    assert all(name in logged for name in ("STACFLASK_MAX_BUFFERED_BYTES", "collection", "item", "data", "Marks"))
    assert store.closed == 1


# --- Content coding ---------------------------------------------------------------------------------------------------


def decoded(content: bytes, coding: str | None, piece: int = 7) -> bytes:
    """Return the decoded bytes of a stream that sends pieces of some bytes."""

    def read(first: int, length: int) -> Iterator[bytes]:
        return (content[start : start + piece] for start in range(first, first + length, piece))

    stream = Stream(read, len(content), '"stored"', content_encoding=coding).decoded()
    return b"".join(stream.open(0, stream.length or 0))


LINES = b"a line of a table\n" * 200_000


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip"])
@pytest.mark.parametrize("piece", [7, 1 << 20])
def test_gzip_is_decoded(coding: str, piece: int) -> None:
    """Bytes in gzip are decompressed, also those of several members, in whatever pieces they arrive."""
    assert decoded(gzip.compress(LINES) + gzip.compress(b"end"), coding, piece) == LINES + b"end"


def test_decoded_chunks_are_small() -> None:
    """A small chunk that decompresses to many bytes is yielded in parts."""
    content = gzip.compress(bytes(50 << 20))
    stream = Stream(lambda *_: iter([content]), len(content), content_encoding="gzip").decoded()
    lengths = [len(chunk) for chunk in stream.open(0, 0)]
    assert (sum(lengths), max(lengths)) == (50 << 20, 512 * 1024)


def test_a_truncated_coding_is_an_error() -> None:
    """A part of the bytes is never taken for all of them."""
    with pytest.raises(EOFError):
        decoded(gzip.compress(LINES)[:-1], "gzip")


def test_bytes_without_a_coding_are_unchanged() -> None:
    """A stream without a coding is returned as it is, with its ranges and validators."""
    stream = Stream(lambda *_: iter([b"x"]), 1, '"stored"')
    assert stream.decoded() is stream


def test_an_unsupported_coding_is_an_error() -> None:
    """A coding that cannot be removed raises before any bytes are read."""
    with pytest.raises(ValueError, match="got 'br'"):
        decoded(b"", "br")


def test_a_transformation_of_decoded_bytes_has_no_coding(plug: Callable[..., Client], consent: Any) -> None:
    """The client gets the changed bytes without Content-Encoding."""

    class Decodes(Marks):
        @hookimpl
        def transform(self, stream: Stream) -> Stream:
            return stream.decoded().transformed(self._mark)

    store = MemoryStore({"s3://bucket/a/file.txt": gzip.compress(b"lines")}, content_encoding="gzip")
    answer = plug(store, consent, Decodes()).get(HERE)
    assert (answer.data, answer.headers.get("Content-Encoding")) == (MARK + b"lines", None)


def test_preparing_a_result_occupies_a_stream(plug: Callable[..., Client], store: Any, consent: Any) -> None:
    """Results that are prepared count as streams, so that they cannot occupy all threads."""
    marks = Marks()
    client = plug(store, consent, marks, environ={"STACFLASK_MAX_STREAMS": "1"})
    answers: list[Any] = []

    class Again(Exception):
        """Raised after another request was sent."""

    def ask_again(chunks: Iterator[bytes]) -> Iterator[bytes]:
        marks._mark = Marks()._mark  # type: ignore[method-assign]
        answers.append(client.get(HERE))
        raise Again
        yield b""

    marks._mark = ask_again  # type: ignore[method-assign]
    client.get(HERE)
    assert [answer.json["code"] for answer in answers] == ["TooManyStreams"]


# --- The example in docs/hooks.md -------------------------------------------------------------------------------------


@pytest.fixture
def documented() -> Any:
    """Return the plugin that docs/hooks.md shows for ``transform``."""
    example = next(text for text in blocks(DOCS / "hooks.md", "python") if "signed by user" in text)
    functions, _, hooks = example.partition("@hookimpl")
    code = f"{functions}\nclass Signs:\n{indent('@hookimpl' + hooks, '    ')}"
    names: dict[str, Any] = {"itertools": itertools, **vars(stacflask)}
    exec(code, names)
    return names["Signs"]()


SIGNED = b"# for ann\na,b\n"


@pytest.mark.parametrize("media_type", ["text/csv", "Text/CSV; charset=utf-8", None])
@pytest.mark.parametrize("coding", [None, "gzip"])
def test_the_documented_example_changes_each_csv(documented: Any, media_type: str | None, coding: str | None) -> None:
    """Parameters, case, a missing type and a content coding do not let a CSV file out unchanged or broken."""
    content = gzip.compress(b"a,b\n") if coding else b"a,b\n"
    store = MemoryStore({"memory:a": content}, redirects=True, content_type="text/csv", content_encoding=coding)
    asset = an_asset(an_item(assets={"data": {"href": "memory:a", **({"type": media_type} if media_type else {})}}))
    hooks = HookRunner(documented, "open_access", store)
    delivery = hooks.deliver(as_user("ann"), asset)
    assert isinstance(delivery, Stream)
    assert (delivery.content_type, delivery.content_encoding) == (media_type or "text/csv", None)
    assert hooks.download(as_user("ann"), asset) == SIGNED


def test_the_documented_example_leaves_other_files(documented: Any) -> None:
    """An asset without type that is another file in its store is streamed unchanged; with a type it is redirected."""
    store = MemoryStore({"memory:a": b"tif"}, redirects=True, content_type="image/tiff")
    hooks = HookRunner(documented, "open_access", store)
    untyped, typed = ({"href": "memory:a"}, {"href": "memory:a", "type": "image/tiff"})
    assert hooks.download(as_user("ann"), an_asset(an_item(assets={"data": untyped}))) == b"tif"
    assert isinstance(hooks.deliver(as_user("ann"), an_asset(an_item(assets={"data": typed}))), Redirect)


def test_the_documented_example_refuses_an_unknown_type(documented: Any) -> None:
    """A file of which neither the document nor the store has the type is denied."""
    hooks = HookRunner(documented, "open_access", MemoryStore({"memory:a": b"?"}))
    with pytest.raises(Refused, match="Access denied"):
        hooks.download(as_user("ann"), an_asset(an_item(assets={"data": {"href": "memory:a"}})))


# --- Archives ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
def test_archives_have_transformed_assets(plug: Callable[..., Client], store: Any, consent: Any, known: bool) -> None:
    """An archive has the transformed bytes with their length."""
    answer = plug(store, consent, of_length(store) if known else Marks()).get(ZIP)
    assert len(answer.data) == int(answer.headers["Content-Length"])
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert [archive.read(name) for name in archive.namelist()] == [MARK + store.content]


def test_archives_with_transformed_assets_have_no_ranges(plug: Callable[..., Client], store: Any, consent: Any) -> None:
    """An archive with a result that has no ranges is sent completely, although each file has a validator."""
    client = plug(store, consent, of_length(store, etag='"v1-ann"'))
    answer = client.get(ZIP, headers={"Range": "bytes=5-"})
    assert (answer.status_code, answer.headers["Accept-Ranges"]) == (200, "none")


def test_a_failure_of_an_unknown_length_is_an_error_response_for_archives(client: Client, marks: Marks) -> None:
    """Results of unknown length are complete before the archive begins."""
    marks.error_after = ValueError("no image")
    assert client.get(ZIP).status_code == 500


def test_head_of_an_archive_with_unknown_lengths_reads_nothing(client: Client, store: Any) -> None:
    """HEAD has no length then."""
    answer = client.head(ZIP)
    assert (answer.status_code, store.opened) == (200, [])
    assert "Content-Length" not in answer.headers

"""Each route with a store that only redirects, and with one that only streams: it works, or states why it cannot."""

import io
import zipfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from stacflask import Decision, Location, Redirect, Stream, hookimpl
from stacflask.testing import an_item

Client = Any
HERE = "/collections/collection/items/item/download/data"
ZIP = "/collections/collection/items/item/download.zip"
URL = "https://store.example.org/signed"
CONTENT = b"0123456789"


class Redirects:
    """A store that cannot stream: it returns a redirect in any case."""

    def __init__(self, size: int | None = None) -> None:
        self.size = size

    @hookimpl
    def resolve(self, asset: Any) -> Location | None:
        """Resolve the assets of this store."""
        return Location("redirects", asset.href) if asset.href.startswith("gs:") else None

    @hookimpl
    def deliver(self, location: Location) -> Redirect | None:
        """Return a redirect."""
        return Redirect(URL, timedelta(minutes=15), self.size) if location.store == "redirects" else None


class Streams:
    """A store that cannot redirect: it returns a stream in any case."""

    @hookimpl
    def resolve(self, asset: Any) -> Location | None:
        """Resolve the assets of this store."""
        return Location("streams", asset.href) if asset.href.startswith("disk:") else None

    @hookimpl
    def deliver(self, location: Location) -> Stream | None:
        """Return a stream."""
        if location.store != "streams":
            return None
        return Stream(lambda first, length: iter([CONTENT[first : first + length]]), len(CONTENT), '"tag"')


class Decides:
    """Returns a decision for each download."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    @hookimpl
    def authorize(self) -> Decision:
        """Return a consent with these options."""
        return Decision.allow("test", **self.options)


@pytest.fixture
def serve(plug: Callable[..., Client], publish: Callable[..., None]) -> Callable[..., Client]:
    """Return a function that publishes an item with assets of these hrefs, and returns a client for them."""

    def serving(*hrefs: str, size: int | None = None, environ: Any = None, **options: Any) -> Client:
        keys = ("data", "more")
        publish(an_item(assets={key: {"href": href} for key, href in zip(keys, hrefs, strict=False)}))
        return plug(Redirects(size), Streams(), Decides(**options), environ=environ or {})

    return serving


REDIRECTED, STREAMED = "gs://bucket/a.tif", "disk:b.tif"

# --- A store that only redirects --------------------------------------------------------------------------------------


def test_get_is_redirected(serve: Callable[..., Client]) -> None:
    """GET is a redirect."""
    answer = serve(REDIRECTED).get(HERE)
    assert (answer.status_code, answer.headers["Location"]) == (307, URL)


@pytest.mark.parametrize("size", [5, 0, None])
def test_head_has_the_size_that_the_store_states(serve: Callable[..., Client], size: int | None) -> None:
    """HEAD is not redirected. It has the size of the redirect, and no length if it has none."""
    answer = serve(REDIRECTED, size=size).head(HERE)
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers.get("Content-Length") == (None if size is None else str(size))
    assert {"ETag", "Accept-Ranges"}.isdisjoint(answer.headers.keys())


def test_head_has_the_size_of_the_document_if_the_store_states_none(
    plug: Callable[..., Client], publish: Callable[..., None]
) -> None:
    """Without a size of the store, HEAD has ``file:size``."""
    publish(an_item(assets={"data": {"href": REDIRECTED, "file:size": 7}}))
    assert plug(Redirects(), Decides()).head(HERE).headers["Content-Length"] == "7"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("query", "headers", "environ", "options"),
    [
        ("?delivery=stream", {}, {}, {}),
        ("", {"Authorization": "Bearer x", "User-Agent": "Wget/1.21"}, {}, {}),
        ("", {}, {"STACFLASK_STREAM_COLLECTIONS": "collection"}, {}),
        ("", {}, {}, {"stream": True}),
    ],
    ids=["by request", "by client", "by setting", "by decision"],
)
def test_a_required_stream_is_refused(
    serve: Callable[..., Client], method: str, query: str, headers: Any, environ: Any, options: Any
) -> None:
    """If a stream is required for any reason, the response is 501 and no URL of the store is sent."""
    answer = serve(REDIRECTED, size=5, environ=environ, **options).open(HERE + query, method=method, headers=headers)
    assert answer.status_code == 501
    assert URL not in str(answer.headers)
    if method == "GET":
        assert answer.json["code"] == "NotStreamable"


def test_an_archive_lists_what_it_lacks(serve: Callable[..., Client]) -> None:
    """An archive has the other assets, and a list of those that it lacks with their download URLs."""
    answer = serve(REDIRECTED, STREAMED).get(ZIP)
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["item/b.tif", "item/SKIPPED.txt"]
        assert archive.read("item/b.tif") == CONTENT
        assert f"data: http://localhost{HERE}" in archive.read("item/SKIPPED.txt").decode()


def test_an_archive_that_lacks_assets_can_be_resumed(serve: Callable[..., Client]) -> None:
    """Ranges of such an archive are parts of it."""
    client = serve(REDIRECTED, STREAMED)
    whole = client.get(ZIP).data
    for first in range(0, len(whole), 20):
        part = client.get(ZIP, headers={"Range": f"bytes={first}-"})
        assert (part.status_code, part.data) == (206, whole[first:])


def test_an_archive_without_any_asset_is_refused(serve: Callable[..., Client]) -> None:
    """If all assets are in such stores, the response states it."""
    answer = serve(REDIRECTED).get(ZIP)
    assert (answer.status_code, answer.json["code"]) == (501, "NotStreamable")


@pytest.mark.parametrize(("size", "status"), [(5, 307), (11, 401), (None, 401)])
def test_a_size_limit_needs_a_size(serve: Callable[..., Client], size: int | None, status: int) -> None:
    """A consent for small objects covers a redirect whose size the store states, and none of unknown size."""
    assert serve(REDIRECTED, size=size, max_bytes=10).get(HERE).status_code == status


# --- A store that only streams ----------------------------------------------------------------------------------------


def test_get_and_head_are_streamed(serve: Callable[..., Client]) -> None:
    """GET, HEAD and ranges are answered by this server."""
    client = serve(STREAMED)
    assert client.get(HERE).data == CONTENT
    assert client.head(HERE).headers["Content-Length"] == str(len(CONTENT))
    assert client.get(HERE, headers={"Range": "bytes=2-3"}).data == b"23"


def test_a_store_that_knows_no_length_is_read_first(plug: Callable[..., Client], serve: Callable[..., Client]) -> None:
    """A stream without a length is read before it is sent, so that the response has one."""

    class Unknown(Streams):
        @hookimpl
        def deliver(self, location: Location) -> Stream:
            return Stream(lambda _first, _length: iter([CONTENT, CONTENT]), None)

    serve(STREAMED)
    answer = plug(Unknown(), Decides()).get(HERE)
    assert (answer.data, answer.headers["Content-Length"]) == (CONTENT * 2, str(len(CONTENT) * 2))


# --- All others -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("href", [REDIRECTED, STREAMED])
@pytest.mark.parametrize("hrefs", ["", "?hrefs=signed"])
def test_pages_and_manifests_have_download_urls(serve: Callable[..., Client], href: str, hrefs: str) -> None:
    """Pages, manifests and states of orders work with either store, without URLs of it."""
    client = serve(href)
    answers = [client.get(f"{path}{hrefs}") for path in ("/search", "/collections/collection/items/item")]
    answers += [client.post(f"/downloads{hrefs}", json={"search": {}})]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert all(HERE in answer.text and URL not in answer.text for answer in answers)
    assert client.get(HERE.replace("/download/", "/orders/")).json["order:status"] == "succeeded"

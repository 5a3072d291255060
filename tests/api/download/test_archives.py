"""Archives of items: they work with real programs, can be resumed, and never look complete if they are not."""

import http.client
import io
import subprocess
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from plugins import local_files
from stacflask import Decision, hookimpl
from stacflask.api.download import archives, zip_format
from stacflask.testing import an_item

Client = Any
PATH = "/collections/collection/items/item/download.zip"
FILES = {"a.tif": bytes(range(256)) * 5000, "ä ö/b.txt": b"0123456789", "empty": b"", "c.bin": b"c" * 100_000}


class Recorder:
    """Allows and charges downloads, and records the calls."""

    def __init__(self) -> None:
        self.denied: str | None = None
        self.exhausted: str | None = None
        self.charged: list[tuple[str, int, int | None]] = []
        self.finished_: list[tuple[str, int, bool]] = []

    @hookimpl
    def authorize(self, asset: Any) -> Decision:
        """Return a consent."""
        return Decision.deny("kept", detail="Not this.") if asset.key == self.denied else Decision.allow("test")

    @hookimpl
    def charge(self, asset: Any, byte_range: Any) -> Decision | None:
        """Charge the download."""
        if asset.key == self.exhausted:
            return Decision.deny("used up", kind="exhausted")
        self.charged.append((asset.key, byte_range.first, byte_range.length))
        return None

    @hookimpl
    def stream_finished(self, stream_result: Any) -> None:
        """Record the result of a stream."""
        self.finished_.append((stream_result.download_decision.asset.key, stream_result.sent, stream_result.complete))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def client(plug: Callable[..., Client], publish: Callable[..., None], root: Path, recorder: Recorder) -> Client:
    """Return a client of an application with an item of four files, and an empty cache of checksums."""
    assets: dict[str, Any] = {f"k{i}": {"href": (root / name).as_uri()} for i, name in enumerate(FILES)}
    assets["k1"]["file:local_path"] = "ä ö/b.txt"
    publish(an_item(assets={**assets, "elsewhere": {"href": "https://example.org/x"}}))
    archives.CHECKSUMS.clear()
    return plug(recorder, local_files.create_plugin({"STACFLASK_LOCAL_FILES_ROOTS": str(root)}))


def contents(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {info.filename: archive.read(info) for info in archive.infolist()}


def test_an_item_is_one_archive(client: Client, recorder: Recorder) -> None:
    """An archive has every asset that can be downloaded, under unique names, and announces its length."""
    answer = client.get(PATH)
    assert (answer.status_code, answer.content_type) == (200, "application/zip")
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    assert 'filename="item.zip"' in answer.headers["Content-Disposition"]
    assert contents(answer.data) == {f"item/{name}": data for name, data in FILES.items()}
    answer.close()
    assert recorder.charged == [(f"k{i}", 0, len(data)) for i, data in enumerate(FILES.values())]
    assert sorted(recorder.finished_) == [(f"k{i}", len(data), True) for i, data in enumerate(FILES.values())]


def test_head_has_the_headers_of_get(client: Client, recorder: Recorder) -> None:
    """HEAD has the same headers, and charges nothing."""
    get, head = client.get(PATH), client.head(PATH)
    charged = len(recorder.charged)
    assert head.data == b""
    for field in ("Content-Length", "ETag", "Accept-Ranges", "Content-Type", "Content-Disposition"):
        assert head.headers[field] == get.headers[field]
    assert client.get(PATH, headers={"If-None-Match": get.headers["ETag"]}).status_code == 304
    assert len(recorder.charged) == charged


def test_assets_can_be_selected(client: Client) -> None:
    """Assets are selected by key. An unknown key and an empty selection are errors."""
    assert contents(client.get(f"{PATH}?assets=k1,k2").data).keys() == {"item/ä ö/b.txt", "item/empty"}
    assert client.get(f"{PATH}?assets=nosuch").status_code == 400
    assert client.get(f"{PATH}?assets=elsewhere").status_code == 400
    assert client.get(f"{PATH}?assets=").status_code == 404
    assert client.get(PATH.replace("items/item", "items/nosuch")).status_code == 404


def test_an_archive_has_all_assets_or_fails(client: Client, recorder: Recorder) -> None:
    """One denied asset denies the archive before a byte is sent. Without it, the others can be downloaded."""
    recorder.denied = "k1"
    refused = client.get(PATH)
    assert (refused.status_code, recorder.charged) == (401, [])
    assert "Not this." in refused.json["description"]
    assert client.get(f"{PATH}?assets=k0,k2,k3").status_code == 200
    recorder.denied, recorder.exhausted = None, "k3"
    finished = len(recorder.finished_)
    assert client.get(PATH).status_code == 401
    assert len(recorder.finished_) == finished


def test_directories_and_missing_files_are_errors(client: Client, publish: Callable[..., None], root: Path) -> None:
    """A directory, or an asset without an object, is an error, and is not left out."""
    here = (root / "a.tif").as_uri()
    publish(an_item("dir", assets={"a": {"href": here}, "d": {"href": f"{root.as_uri()}/"}}))
    publish(an_item("gone", assets={"a": {"href": here}, "g": {"href": f"{root.as_uri()}/nosuch"}}))
    directory = client.get(PATH.replace("items/item", "items/dir"))
    assert (directory.status_code, directory.json["code"]) == (409, "DirectoryAsset")
    assert client.get(f"{PATH.replace('items/item', 'items/dir')}?assets=a").status_code == 200
    gone = client.get(PATH.replace("items/item", "items/gone"))
    assert (gone.status_code, gone.json["code"]) == (404, "ObjectMissing")


def test_every_range_is_part_of_the_archive(client: Client, recorder: Recorder) -> None:
    """After the files were read once, every range has the bytes of the archive, and charges for its assets."""
    whole = client.get(PATH).data
    places = {0, 1, len(whole) - 1, len(whole) - 30}
    for marker in (b"PK\3\4", b"PK\7\x08", b"PK\1\2", b"PK\5\6"):
        place = whole.find(marker)
        while place >= 0:
            places |= {place - 1, place, place + 1, place + 20, place + 60}
            place = whole.find(marker, place + 1)
    ordered = sorted(place for place in places if 0 <= place < len(whole))
    for first, last in [(a, b) for i, a in enumerate(ordered) for b in ordered[i::3]]:
        part = client.get(PATH, headers={"Range": f"bytes={first}-{last}"})
        assert (part.status_code, part.data) == (206, whole[first : last + 1]), (first, last)
        assert part.headers["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"
    recorder.charged.clear()
    client.get(PATH, headers={"Range": "bytes=100-199"})
    (charged,) = recorder.charged
    assert (charged[0], charged[2]) == ("k0", 100)


def test_a_range_reads_at_most_twice_its_bytes(client: Client) -> None:
    """If files were not read before, a range is sent only if it skips no more than it sends; else the whole archive."""
    length = int(client.head(PATH).headers["Content-Length"])
    tail = client.get(PATH, headers={"Range": "bytes=-100"})
    assert (tail.status_code, len(tail.get_data())) == (200, length)
    archives.CHECKSUMS.clear()
    whole = tail.data
    half = client.get(PATH, headers={"Range": f"bytes={length // 3}-"})
    assert (half.status_code, half.data) == (206, whole[length // 3 :])
    archives.CHECKSUMS.clear()
    inside = client.get(PATH, headers={"Range": "bytes=1000000-1000009"})
    assert (inside.status_code, inside.data) == (206, whole[1000000:1000010])


def test_a_changed_file_changes_the_etag(client: Client, root: Path) -> None:
    """If a file has changed, the ETag changes, and a resumed download begins again."""
    etag = client.head(PATH).headers["ETag"]
    client.get(PATH)
    (root / "c.bin").write_bytes(b"d" * 100_000)
    answer = client.get(PATH, headers={"Range": "bytes=10-", "If-Range": etag})
    assert answer.status_code == 200
    assert answer.headers["ETag"] != etag
    assert contents(answer.data)["item/c.bin"] == b"d" * 100_000


def test_a_store_without_validators_has_no_ranges(
    plug: Callable[..., Client], publish: Callable[..., None], store: Any, consent: Any
) -> None:
    """If objects have no validators, the archive accepts no ranges and announces that."""
    publish(an_item())
    store.etag = None
    client = plug(store, consent)
    answer = client.get(PATH, headers={"Range": "bytes=10-20"})
    assert (answer.status_code, answer.headers["Accept-Ranges"]) == (200, "none")
    assert "ETag" not in answer.headers
    assert contents(answer.data) == {"item/data.tif": store.content}


@pytest.fixture
def address(client: Client) -> Iterator[tuple[str, int]]:
    """Serve the application to real clients."""
    server = make_server("127.0.0.1", 0, client.application, threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield "127.0.0.1", server.port
    server.shutdown()
    serving.join()
    server.server_close()


def test_unzip_and_curl_accept_archives(address: tuple[str, int], tmp_path: Path) -> None:
    """Curl resumes an interrupted download, and unzip finds every file complete."""
    url, target = f"http://{address[0]}:{address[1]}{PATH}", tmp_path / "item.zip"
    subprocess.run(["curl", "-sSf", "-o", target, url], check=True, timeout=60)
    whole = target.read_bytes()
    target.write_bytes(whole[:700_000])
    subprocess.run(["curl", "-sSf", "-C", "-", "-o", target, url], check=True, timeout=60)
    assert target.read_bytes() == whole
    subprocess.run(["unzip", "-tq", target], check=True, timeout=60, capture_output=True)


def test_a_failing_store_aborts_the_archive(
    plug: Callable[..., Client], publish: Callable[..., None], store: Any, consent: Any
) -> None:
    """If a store fails or ends too early, the client receives fewer bytes than announced."""
    publish(an_item(assets={"a": {"href": "s3://b/a"}, "b": {"href": "s3://b/b"}}))

    class Short(type(store)):  # type: ignore[misc]
        def open(self, first: int, length: int) -> Iterator[bytes]:
            return iter([self.content[first : first + length - 1]])

    store.breaks = True
    for plugin in (store, Short()):
        server = make_server("127.0.0.1", 0, plug(plugin, consent).application, threaded=True)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            connection.request("GET", PATH)
            answer = connection.getresponse()
            assert answer.status == 200
            with pytest.raises(http.client.IncompleteRead):
                answer.read()
        finally:
            server.shutdown()
            serving.join()
            server.server_close()


def test_an_archive_frees_its_stream(
    plug: Callable[..., Client], publish: Callable[..., None], store: Any, consent: Any
) -> None:
    """An archive occupies one stream. If its client disconnects, the stream is freed and the store is closed."""
    publish(an_item())
    client = plug(store, consent, environ={"STACFLASK_MAX_STREAMS": "1"})
    first = client.get(PATH, buffered=False)
    next(iter(first.response))
    assert client.get(PATH).status_code == 503
    first.close()
    assert client.get(PATH).status_code == 200


@pytest.mark.parametrize(
    ("coding", "names"),
    [
        (None, ["a.json", "a.json.gz", "b.gz"]),
        ("gzip", ["a.json.gz", "a-plain.json.gz", "b.gz"]),
        ("br", ["a.json.br", "a.json.gz.br", "b.gz.br"]),
        ("gzip, br", ["a.json.gz.br", "a.json.gz.gz.br", "b.gz.gz.br"]),
        ("x-gzip", ["a.json.gz", "a-plain.json.gz", "b.gz"]),
        ("x-unknown", ["a.json", "a.json.gz", "b.gz"]),
    ],
)
def test_coded_files_have_the_extension_of_their_coding(
    plug: Callable[..., Client],
    publish: Callable[..., None],
    store: Any,
    consent: Any,
    coding: str | None,
    names: list[str],
) -> None:
    """An archive has the stored bytes. The name of a file has the extension of its coding, and names are unique."""
    hrefs = {"json": "s3://x/a.json", "plain": "s3://x/a.json.gz", "b": "s3://x/b.gz"}
    publish(an_item(assets={key: {"href": href} for key, href in hrefs.items()}))
    store.described = (None, coding, None)
    found = contents(plug(store, consent).get(PATH).data)
    assert found == {f"item/{name}": store.content for name in names}


@pytest.mark.parametrize(
    "sizes", [[2**32 - 2], [2**32 - 1], [2**32], [5 * 2**30, 10, 5 * 2**30, 0], [1] * 65534, [1] * 65536]
)
def test_large_archives_are_zip64(sizes: list[int], tmp_path: Path) -> None:
    """Files, positions and numbers of files beyond 32 or 16 bits use Zip64, and other programs can read them."""
    moment = datetime(2024, 2, 29, 12, 30, 58, tzinfo=UTC)
    files, length = zip_format.layout([(f"ä{i}", size, moment) for i, size in enumerate(sizes)])
    path = tmp_path / "sparse.zip"
    with path.open("wb") as out:
        for file in files:
            out.seek(file.begin)
            out.write(file.header)
            out.seek(file.start + file.size)
            out.write(file.descriptor(7))
        out.seek(files[-1].end)
        out.write(zip_format.directory(files, [7] * len(files)))
        assert out.tell() == length
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        assert [info.file_size for info in infos] == sizes
        assert [info.header_offset for info in infos] == [file.begin for file in files]
        assert {(info.CRC, info.date_time) for info in infos} == {(7, (2024, 2, 29, 12, 30, 58))}
        archive.open(infos[-1]).close()
    if len(sizes) < 10:
        shown = subprocess.run(["unzip", "-l", path], check=True, timeout=60, capture_output=True, text=True)
        assert str(sum(sizes)) in shown.stdout


def test_times_outside_of_the_format_are_replaced() -> None:
    """A file from before 1980, or without a time, has the first date of the format."""
    for moment in (None, datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)):
        files, _ = zip_format.layout([("a", 1, moment)])
        text = (
            files[0].header
            + b"x"
            + files[0].descriptor(zlib.crc32(b"x"))
            + zip_format.directory(files, [zlib.crc32(b"x")])
        )
        assert zipfile.ZipFile(io.BytesIO(text)).infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)

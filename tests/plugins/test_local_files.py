"""The local_files plugin with real folders: files, and paths that leave the roots."""

import json
import os
import resource
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from plugins import local_files, open_access
from plugins.collection_groups import CollectionGroups
from stacflask import ANONYMOUS, Asset, Location, Missing, SettingError, Stream, Unavailable
from stacflask.pluginmanager.loading import manage
from stacflask.testing import Plug, Publish, an_item

ZARR = "application/vnd+zarr"
DATA = bytes(range(256)) * 5000  # more than two pieces


class Plugin:
    """The plugin, called by its hooks."""

    def __init__(self, *roots: Path | str) -> None:
        environ = {local_files.VARIABLE: ",".join(map(str, roots))}
        self.hook: Any = manage({"local_files": local_files.create_plugin(environ)}).hook

    def resolve(self, href: str) -> Location | None:
        """Return the location of an href."""
        found: Location | None = self.hook.resolve(asset=Asset("c", "i", "data", href))
        return found

    def deliver(self, location: Location) -> Stream | None:
        """Return the stream of a location."""
        asset = Asset("c", "i", "data", "file:///somewhere")
        found: Stream | None = self.hook.deliver(
            principal=ANONYMOUS, asset=asset, location=location, streamed=True, grant_id="g"
        )
        return found

    def stream(self, href: str) -> Stream:
        """Return the stream of an href that resolves."""
        location = self.resolve(href)
        assert location
        stream = self.deliver(location)
        assert stream
        return stream


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Create a folder of downloads, with a secret outside it."""
    (tmp_path / "root/sub").mkdir(parents=True)
    (tmp_path / "root/sub/data.bin").write_bytes(DATA)
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (tmp_path / "root-secret").mkdir()
    (tmp_path / "root-secret/data.bin").write_bytes(b"secret")
    return tmp_path / "root"


@pytest.fixture
def plugin(root: Path) -> Plugin:
    return Plugin(root)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "missing"),
        ("relative/folder", "expected an absolute path, got 'relative/folder'"),
        ("/no/such/folder", "expected a readable folder, got '/no/such/folder'"),
        ("/etc/passwd", "expected a readable folder, got '/etc/passwd'"),
        ("{", "not JSON"),
        ('{"/": []}', "/: expected a list of collections"),
        ('{"/": ["a"], "/etc/..": ["b"]}', "two paths lead to the same folder"),
        ('{"/etc": ["a"], "/etc/": ["b"]}', "two paths lead to the same folder"),
        ('{"/etc": ["a"], "/etc": ["b"]}', "not JSON: members must not be repeated: /etc"),
        ("/etc,/etc/", "two paths lead to the same folder"),
    ],
)
def test_a_wrong_setting_is_named(value: str, message: str) -> None:
    """A missing or wrong root prevents the start; the error names the variable and the root."""
    with pytest.raises(SettingError, match=f"^STACFLASK_LOCAL_FILES_ROOTS: {message}"):
        local_files.create_plugin({local_files.VARIABLE: value})


def test_a_whole_file_is_streamed(plugin: Plugin, root: Path) -> None:
    """The stream of a file has its bytes, length, entity tag and modification time."""
    stream = plugin.stream(f"file://{root}/sub/data.bin")
    assert b"".join(stream.open(0, stream.length or 0)) == DATA
    assert stream.length == len(DATA)
    assert stream.etag
    assert stream.etag[0] == stream.etag[-1] == '"'
    modified = datetime.fromtimestamp((root / "sub/data.bin").stat().st_mtime, UTC)
    assert stream.last_modified == modified


@pytest.mark.parametrize(("first", "length"), [(0, 1), (255, 600_000), (len(DATA) - 1, 1), (10, 0)])
def test_a_range_is_streamed(plugin: Plugin, root: Path, first: int, length: int) -> None:
    """A range has exactly the requested bytes, independent of the chunks."""
    stream = plugin.stream(f"file://{root}/sub/data.bin")
    assert b"".join(stream.open(first, length)) == DATA[first : first + length]


def test_an_empty_file_is_streamed(plugin: Plugin, root: Path) -> None:
    """The stream of an empty file has no bytes."""
    (root / "empty").touch()
    stream = plugin.stream(f"file://{root}/empty")
    assert (stream.length, list(stream.open(0, 0))) == (0, [])


@pytest.mark.parametrize("name", ["with space.bin", "100%25.bin", "müll.bin", "a?b#c.bin", "new\nline.bin"])
def test_names_are_decoded_once(plugin: Plugin, root: Path, name: str) -> None:
    """The URL of a file with any name resolves to it, also with percent signs in the name."""
    (root / name).write_bytes(b"here")
    stream = plugin.stream((root / name).as_uri())
    assert b"".join(stream.open(0, 4)) == b"here"


def test_localhost_is_this_machine(plugin: Plugin, root: Path) -> None:
    """Both forms of URLs of local files are accepted (RFC 8089)."""
    assert plugin.resolve(f"file://localhost{root}/sub/data.bin") == plugin.resolve(f"file://{root}/sub/data.bin")


@pytest.mark.parametrize(
    "form",
    [
        "{root}/sub/data.bin",
        "s3://{root}/sub/data.bin",
        "http://{root}/sub/data.bin",
        "file://elsewhere{root}/sub/data.bin",
        "file://user@localhost{root}/sub/data.bin",
        "file://{root}/sub/data.bin?version=1",
        "file://{root}/sub/data.bin#part",
        "file://{root}/sub/data\n.bin",
        "file://{root}/../secret.txt",
        "file://{root}/sub/../../secret.txt",
        "file://{root}/%2e%2e/secret.txt",
        "file://{root}/..%2fsecret.txt",
        "file://{root}/%252e%252e/../../secret.txt",
        "file://{root}/sub/data.bin%00",
        "file://{root}-secret/data.bin",
        "file:///etc/passwd",
        "file:etc/passwd",
        "file://[broken/etc/passwd",
        "file:",
        "",
    ],
)
def test_other_hrefs_are_ignored(plugin: Plugin, root: Path, form: str) -> None:
    """The plugin ignores other schemes, other hosts, and all forms of paths that leave the root."""
    assert plugin.resolve(form.format(root=root)) is None


def test_links_that_leave_the_root_are_ignored(plugin: Plugin, root: Path) -> None:
    """A link that leaves the root is not followed, as a file or as a folder."""
    (root / "file").symlink_to(root.parent / "secret.txt")
    (root / "folder").symlink_to(root.parent)
    assert plugin.resolve(f"file://{root}/file") is None
    assert plugin.resolve(f"file://{root}/folder/secret.txt") is None
    assert plugin.resolve(f"file://{root}/folder/{root.name}/../secret.txt") is None


def test_links_within_the_roots_are_followed(root: Path) -> None:
    """Links below the roots are followed, and a root can be a link itself."""
    (root.parent / "entry").symlink_to(root)
    (root / "latest").symlink_to("sub")
    stream = Plugin(root.parent / "entry").stream(f"file://{root.parent}/entry/latest/data.bin")
    assert b"".join(stream.open(0, 10)) == DATA[:10]


def test_several_roots_are_served(root: Path, tmp_path: Path) -> None:
    """Files below every root are served, and files between them are not."""
    plugin = Plugin(root, f" {tmp_path}/root-secret ")
    assert plugin.stream(f"file://{tmp_path}/root-secret/data.bin").length == 6
    assert plugin.stream(f"file://{root}/sub/data.bin").length == len(DATA)
    assert plugin.resolve(f"file://{tmp_path}/secret.txt") is None


def test_a_link_created_after_resolving_is_missing(plugin: Plugin, root: Path) -> None:
    """A folder or file that is replaced by a link after it was resolved is missing."""
    location = plugin.resolve(f"file://{root}/sub/data.bin")
    assert location
    (root / "sub").rename(root / "was")
    (root / "sub").symlink_to(root.parent / "root-secret")
    with pytest.raises(Missing):
        plugin.deliver(location)
    (root / "sub").unlink()
    (root / "sub").mkdir()
    (root / "sub/data.bin").symlink_to(root.parent / "secret.txt")
    with pytest.raises(Missing):
        plugin.deliver(location)


def test_locations_of_other_plugins_are_ignored(plugin: Plugin, root: Path) -> None:
    """A location of another store, or outside the roots, is ignored."""
    assert plugin.deliver(Location("s3", f"{root}/sub/data.bin")) is None
    assert plugin.deliver(Location("file", f"{root}/../secret.txt")) is None
    assert plugin.deliver(Location("file", "")) is None


def _folder(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _nothing(path: Path) -> None:
    """Create nothing."""


@pytest.mark.parametrize("make", [_folder, _pipe, _loop, _nothing])
def test_other_than_regular_files_are_missing(plugin: Plugin, root: Path, make: Callable[[Path], None]) -> None:
    """An absent file, or one that is not regular, is missing; a pipe does not block."""
    make(root / "thing")
    location = plugin.resolve(f"file://{root}/thing")
    assert location
    with pytest.raises(Missing):
        plugin.deliver(location)


def test_a_path_below_a_file_is_missing(plugin: Plugin, root: Path) -> None:
    """A path below a file is missing, as are a name that is too long and the root itself."""
    for href in (f"file://{root}/sub/data.bin/more", f"file://{root}/{'x' * 300}", f"file://{root}"):
        location = plugin.resolve(href)
        assert location
        with pytest.raises(Missing):
            plugin.deliver(location)


def test_other_errors_are_unavailable(plugin: Plugin, root: Path) -> None:
    """A file that the server cannot open for another reason is unavailable, not missing."""
    location = plugin.resolve(f"file://{root}/sub/data.bin")
    assert location
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        with pytest.raises(Unavailable):
            plugin.deliver(location)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_file_replaced_before_reading(plugin: Plugin, root: Path) -> None:
    """A file that was replaced after its entity tag was returned is not sent."""
    stream = plugin.stream(f"file://{root}/sub/data.bin")
    (root / "new").write_bytes(DATA)
    (root / "new").rename(root / "sub/data.bin")
    with pytest.raises(Unavailable):
        stream.open(0, stream.length or 0)


def test_a_file_removed_before_reading(plugin: Plugin, root: Path) -> None:
    """A file that was removed meanwhile is missing."""
    stream = plugin.stream(f"file://{root}/sub/data.bin")
    (root / "sub/data.bin").unlink()
    with pytest.raises(Missing):
        stream.open(0, stream.length or 0)


def test_a_file_replaced_while_reading(plugin: Plugin, root: Path) -> None:
    """A file that is replaced while it is read is read to its end."""
    stream = plugin.stream(f"file://{root}/sub/data.bin")
    pieces = stream.open(0, stream.length or 0)
    begun = next(pieces)
    (root / "new").write_bytes(b"x" * len(DATA))
    (root / "new").rename(root / "sub/data.bin")
    assert begun + b"".join(pieces) == DATA


def test_a_file_overwritten_while_reading(plugin: Plugin, root: Path) -> None:
    """If a file is overwritten while it is sent, the stream fails, so that no client gets a mixture as complete."""
    stream = plugin.stream(f"file://{root}/sub/data.bin")
    pieces = stream.open(0, stream.length or 0)
    got = len(next(pieces))
    (root / "sub/data.bin").write_bytes(b"x" * len(DATA))
    with pytest.raises(Unavailable):
        got += sum(map(len, pieces))
    assert got < len(DATA)


def test_a_file_truncated_while_reading(plugin: Plugin, root: Path) -> None:
    """If a file is truncated while it is sent, the stream fails."""
    stream = plugin.stream(f"file://{root}/sub/data.bin")
    pieces = stream.open(0, stream.length or 0)
    next(pieces)
    os.truncate(root / "sub/data.bin", 10)
    with pytest.raises(Unavailable):
        list(pieces)


def test_no_file_stays_open(plugin: Plugin, root: Path) -> None:
    """No file stays open after a complete, aborted, unread or refused stream."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    stream = plugin.stream(f"file://{root}/sub/data.bin")
    list(stream.open(0, stream.length or 0))
    for begun in (True, False):
        pieces: Any = stream.open(0, stream.length or 0)
        if begun:
            next(pieces)
        pieces.close()
    (root / "sub/data.bin").write_bytes(b"other")
    with pytest.raises(Unavailable):
        stream.open(0, stream.length or 0)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("value", "starts"), [("{0}", False), ('{{"{0}": "*"}}', True), ('{{"{0}": ["radar"]}}', True)]
)
def test_folders_need_collections_if_documents_can_be_changed(plug: Plug, root: Path, value: str, starts: bool) -> None:
    """A folder whose files any author could publish prevents the start, unless the setting allows it with `*`."""
    plugin = local_files.create_plugin({local_files.VARIABLE: value.format(root)})
    plug(open_access, plugin)
    expected = nullcontext() if starts else pytest.raises(SettingError, match=f"{root}: no collections")
    with expected:
        plug(CollectionGroups(), plugin)


def test_hrefs_resolve_only_in_folders_of_their_collection(plug: Plug, publish: Publish, root: Path) -> None:
    """An href resolves only in folders of its collection; a nested folder has its own collections."""
    (root / "sub/inner").mkdir()
    for name in ("sub/inner/data.bin", "data.bin"):
        (root / name).write_bytes(DATA)
    folders = {str(root): ["radar", "optical"], str(root / "sub/inner"): ["optical"]}
    paths = ("data.bin", "sub/data.bin", "sub/inner/data.bin")
    assets: dict[str, Any] = {str(number): {"href": f"file://{root}/{path}"} for number, path in enumerate(paths)}
    assets["root"] = {"href": f"file://{root}/", "type": ZARR}
    assets["sub"] = {"href": f"file://{root}/sub", "type": ZARR}
    for collection in ("radar", "optical", "other"):
        publish(an_item("item", collection, assets=assets))
    client = plug(open_access, local_files.create_plugin({local_files.VARIABLE: json.dumps(folders)}))
    keys = ("0", "1", "2", "root/data.bin", "sub/data.bin", "sub/inner/data.bin")

    def statuses(collection: str) -> list[int]:
        base = f"/collections/{collection}/items/item/download"
        return [client.get(f"{base}/{key}").status_code for key in keys]

    assert statuses("radar") == [200, 200, 404, 404, 200, 404]
    assert statuses("optical") == [200, 200, 200, 404, 200, 200]
    assert statuses("other") == [404] * 6


def test_check_reports_shared_folders(root: Path) -> None:
    """`stacflask check` reports folders whose files authors of several collections can publish."""
    folders = {str(root): "*", str(root / "sub"): ["a"]}
    notes = local_files.create_plugin({local_files.VARIABLE: json.dumps(folders)}).check_setup()
    assert notes == [
        f"{local_files.VARIABLE}: {root}: an author of any collection can publish every file of this folder"
    ]

"""The local_files plugin on real folders: what it hands over, and that there is no way out of its roots."""

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


class Door:
    """The plugin as the gate sees it."""

    def __init__(self, *roots: Path | str) -> None:
        environ = {local_files.VARIABLE: ",".join(map(str, roots))}
        self.hook: Any = manage({"local_files": local_files.create_plugin(environ)}).hook

    def resolve(self, href: str) -> Location | None:
        """Ask where an href leads."""
        found: Location | None = self.hook.resolve(asset=Asset("c", "i", "data", href))
        return found

    def deliver(self, location: Location) -> Stream | None:
        """Ask for what is there."""
        asset = Asset("c", "i", "data", "file:///somewhere")
        found: Stream | None = self.hook.deliver(
            principal=ANONYMOUS, asset=asset, location=location, streamed=True, grant_id="g"
        )
        return found

    def stream(self, href: str) -> Stream:
        """Go both steps for an href that must work."""
        location = self.resolve(href)
        assert location
        stream = self.deliver(location)
        assert stream
        return stream


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder to download from, with a secret beside it."""
    (tmp_path / "root/sub").mkdir(parents=True)
    (tmp_path / "root/sub/data.bin").write_bytes(DATA)
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (tmp_path / "root-secret").mkdir()
    (tmp_path / "root-secret/data.bin").write_bytes(b"secret")
    return tmp_path / "root"


@pytest.fixture
def door(root: Path) -> Door:
    return Door(root)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("", "missing"),
        ("relative/folder", "'relative/folder' is not an absolute path"),
        ("/no/such/folder", "'/no/such/folder' is not a folder"),
        ("/etc/passwd", "'/etc/passwd' is not a folder"),
        ("{", "not JSON"),
        ('{"/": []}', "/: expected a list of collections"),
        ('{"/": ["a"], "/etc/..": ["b"]}', "names a folder twice"),
        ('{"/etc": ["a"], "/etc/": ["b"]}', "names a folder twice"),
        ('{"/etc": ["a"], "/etc": ["b"]}', "not JSON: given twice: /etc"),
        ("/etc,/etc/", "names a folder twice"),
    ],
)
def test_wrong_setting(value: str, complaint: str) -> None:
    """A root that is missing or wrong stops the start, and the complaint names the variable and the root."""
    with pytest.raises(SettingError, match=f"^STACFLASK_LOCAL_FILES_ROOTS: {complaint}"):
        local_files.create_plugin({local_files.VARIABLE: value})


def test_a_whole_file(door: Door, root: Path) -> None:
    """A file arrives whole, with its length, a validator in quotes and its time of change."""
    stream = door.stream(f"file://{root}/sub/data.bin")
    assert b"".join(stream.open(0, stream.length)) == DATA
    assert stream.length == len(DATA)
    assert stream.etag
    assert stream.etag[0] == stream.etag[-1] == '"'
    modified = datetime.fromtimestamp((root / "sub/data.bin").stat().st_mtime, UTC)
    assert stream.last_modified == modified


@pytest.mark.parametrize(("first", "length"), [(0, 1), (255, 600_000), (len(DATA) - 1, 1), (10, 0)])
def test_a_part(door: Door, root: Path, first: int, length: int) -> None:
    """A part is exactly the bytes asked for, wherever the pieces begin and end."""
    stream = door.stream(f"file://{root}/sub/data.bin")
    assert b"".join(stream.open(first, length)) == DATA[first : first + length]


def test_an_empty_file(door: Door, root: Path) -> None:
    """An empty file is a file too."""
    (root / "empty").touch()
    stream = door.stream(f"file://{root}/empty")
    assert (stream.length, list(stream.open(0, 0))) == (0, [])


@pytest.mark.parametrize("name", ["with space.bin", "100%25.bin", "müll.bin", "a?b#c.bin", "new\nline.bin"])
def test_names_are_decoded_once(door: Door, root: Path, name: str) -> None:
    """Whatever a file is called, its address leads to it, and percent signs in the name itself survive."""
    (root / name).write_bytes(b"here")
    stream = door.stream((root / name).as_uri())
    assert b"".join(stream.open(0, 4)) == b"here"


def test_localhost_is_this_machine(door: Door, root: Path) -> None:
    """Both ways to write this machine's files are understood (RFC 8089)."""
    assert door.resolve(f"file://localhost{root}/sub/data.bin") == door.resolve(f"file://{root}/sub/data.bin")


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
def test_hrefs_of_others(door: Door, root: Path, form: str) -> None:
    """Other kinds of href, other machines, and all spellings of a way out of the root are not this plugin's."""
    assert door.resolve(form.format(root=root)) is None


def test_links_out_of_the_root(door: Door, root: Path) -> None:
    """A link that leads out is not followed, be it the file or a folder on the way."""
    (root / "file").symlink_to(root.parent / "secret.txt")
    (root / "folder").symlink_to(root.parent)
    assert door.resolve(f"file://{root}/file") is None
    assert door.resolve(f"file://{root}/folder/secret.txt") is None
    assert door.resolve(f"file://{root}/folder/{root.name}/../secret.txt") is None


def test_links_within_the_roots(root: Path) -> None:
    """Links that stay below the roots work, and so does a root that is a link itself."""
    (root.parent / "entry").symlink_to(root)
    (root / "latest").symlink_to("sub")
    stream = Door(root.parent / "entry").stream(f"file://{root.parent}/entry/latest/data.bin")
    assert b"".join(stream.open(0, 10)) == DATA[:10]


def test_several_roots(root: Path, tmp_path: Path) -> None:
    """Every root is served, and what lies between them is not."""
    door = Door(root, f" {tmp_path}/root-secret ")
    assert door.stream(f"file://{tmp_path}/root-secret/data.bin").length == 6
    assert door.stream(f"file://{root}/sub/data.bin").length == len(DATA)
    assert door.resolve(f"file://{tmp_path}/secret.txt") is None


def test_a_link_put_there_after_resolving(door: Door, root: Path) -> None:
    """A folder or file exchanged for a link once it was found leads nowhere."""
    location = door.resolve(f"file://{root}/sub/data.bin")
    assert location
    (root / "sub").rename(root / "was")
    (root / "sub").symlink_to(root.parent / "root-secret")
    with pytest.raises(Missing):
        door.deliver(location)
    (root / "sub").unlink()
    (root / "sub").mkdir()
    (root / "sub/data.bin").symlink_to(root.parent / "secret.txt")
    with pytest.raises(Missing):
        door.deliver(location)


def test_locations_of_others(door: Door, root: Path) -> None:
    """A location that another plugin made leads no further than one's own."""
    assert door.deliver(Location("s3", f"{root}/sub/data.bin")) is None
    assert door.deliver(Location("file", f"{root}/../secret.txt")) is None
    assert door.deliver(Location("file", "")) is None


def _folder(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _nothing(path: Path) -> None:
    """Leave the place empty."""


@pytest.mark.parametrize("make", [_folder, _pipe, _loop, _nothing])
def test_what_is_no_file(door: Door, root: Path, make: Callable[[Path], None]) -> None:
    """What is absent or no regular file is missing, and a pipe holds nobody up."""
    make(root / "thing")
    location = door.resolve(f"file://{root}/thing")
    assert location
    with pytest.raises(Missing):
        door.deliver(location)


def test_a_file_as_a_folder(door: Door, root: Path) -> None:
    """A path that goes on below a file is missing, and so are a name that is too long and the root itself."""
    for href in (f"file://{root}/sub/data.bin/more", f"file://{root}/{'x' * 300}", f"file://{root}"):
        location = door.resolve(href)
        assert location
        with pytest.raises(Missing):
            door.deliver(location)


def test_a_server_in_trouble(door: Door, root: Path) -> None:
    """What the server cannot open for reasons of its own is not said to be missing."""
    location = door.resolve(f"file://{root}/sub/data.bin")
    assert location
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        with pytest.raises(Unavailable):
            door.deliver(location)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_replaced_before_reading(door: Door, root: Path) -> None:
    """A file replaced after its length and validator were told is not sent under them."""
    stream = door.stream(f"file://{root}/sub/data.bin")
    (root / "new").write_bytes(DATA)
    (root / "new").rename(root / "sub/data.bin")
    with pytest.raises(Unavailable):
        stream.open(0, stream.length)


def test_removed_before_reading(door: Door, root: Path) -> None:
    """A file that went away in between is missing."""
    stream = door.stream(f"file://{root}/sub/data.bin")
    (root / "sub/data.bin").unlink()
    with pytest.raises(Missing):
        stream.open(0, stream.length)


def test_replaced_while_reading(door: Door, root: Path) -> None:
    """A file replaced by another in its place is read to its own end."""
    stream = door.stream(f"file://{root}/sub/data.bin")
    pieces = stream.open(0, stream.length)
    begun = next(pieces)
    (root / "new").write_bytes(b"x" * len(DATA))
    (root / "new").rename(root / "sub/data.bin")
    assert begun + b"".join(pieces) == DATA


def test_overwritten_while_reading(door: Door, root: Path) -> None:
    """A file written over during its transfer breaks it off: nobody gets a mixture as a whole."""
    stream = door.stream(f"file://{root}/sub/data.bin")
    pieces = stream.open(0, stream.length)
    got = len(next(pieces))
    (root / "sub/data.bin").write_bytes(b"x" * len(DATA))
    with pytest.raises(Unavailable):
        got += sum(map(len, pieces))
    assert got < len(DATA)


def test_cut_short_while_reading(door: Door, root: Path) -> None:
    """A file that loses its end during its transfer breaks it off."""
    stream = door.stream(f"file://{root}/sub/data.bin")
    pieces = stream.open(0, stream.length)
    next(pieces)
    os.truncate(root / "sub/data.bin", 10)
    with pytest.raises(Unavailable):
        list(pieces)


def test_no_file_stays_open(door: Door, root: Path) -> None:
    """Whether read to the end, given up, never begun or refused, nothing is left open."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    stream = door.stream(f"file://{root}/sub/data.bin")
    list(stream.open(0, stream.length))
    for begun in (True, False):
        pieces: Any = stream.open(0, stream.length)
        if begun:
            next(pieces)
        pieces.close()
    (root / "sub/data.bin").write_bytes(b"other")
    with pytest.raises(Unavailable):
        stream.open(0, stream.length)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("value", "starts"), [("{0}", False), ('{{"{0}": "*"}}', True), ('{{"{0}": ["radar"]}}', True)]
)
def test_folders_have_owners_if_documents_can_be_changed(plug: Plug, root: Path, value: str, starts: bool) -> None:
    """A folder whose files any author could publish stops the start, unless the setting says that this is meant."""
    plugin = local_files.create_plugin({local_files.VARIABLE: value.format(root)})
    plug(open_access, plugin)
    expected = nullcontext() if starts else pytest.raises(SettingError, match=f"{root}: no collections")
    with expected:
        plug(CollectionGroups(), plugin)


def test_authors_publish_files_of_their_folders_only(plug: Plug, publish: Publish, root: Path) -> None:
    """An href leads only into folders of its collection; a folder within another has collections of its own."""
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
    """`stacflask check` names the folders whose files authors of several collections can publish."""
    folders = {str(root): "*", str(root / "sub"): ["a"]}
    notes = local_files.create_plugin({local_files.VARIABLE: json.dumps(folders)}).check_setup()
    assert notes == [
        f"{local_files.VARIABLE}: {root}: an author of any collection can publish every file of this folder"
    ]

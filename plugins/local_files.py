"""Assets that are files below configured folders, streamed through this server. See docs/stores.md."""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

from plugins._common.json_setting import decode_json
from stacflask import Location, Missing, Setting, SettingError, Stream, Unavailable, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from stacflask import Asset, Services

VARIABLE = "STACFLASK_LOCAL_FILES_ROOTS"

SETTINGS = (
    Setting(
        VARIABLE,
        "Folders whose files are delivered: comma separated, or a JSON object with the collections of each folder.",
        required=True,
    ),
)
EVERY_COLLECTION = "*"
UNOWNED = (
    "{0}: no collections. Documents can be changed here, so an author of any collection could publish every file of "
    'this folder. Write {{"{0}": ["collection-a"]}}, or {{"{0}": "*"}} if every author may publish every file.'
)
NAME = "file"
CHUNK = 512 * 1024  # bytes
STEP = os.O_NOFOLLOW | os.O_CLOEXEC
# Where the system has it, O_PATH asks for no more than the right to pass through a folder.
FOLDER = STEP | os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
FILE = STEP | os.O_RDONLY | os.O_NONBLOCK
CONTROL = re.compile(r"[\x00-\x1f\x7f]")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalFiles:
    """Finds and streams the files below ``roots``, which are free of links; ``names`` are the same as configured.

    ``owners`` are the collections whose assets are below each root; None: of any. ``unowned`` are the names of roots
    for which the setting leaves that open.
    """

    roots: tuple[Path, ...]
    names: tuple[Path, ...]
    owners: Mapping[Path, frozenset[str] | None]
    unowned: tuple[Path, ...] = ()

    @hookimpl
    def startup(self, services: Services) -> None:
        """Raise SettingError for a folder that every author could publish."""
        if services.changes_possible and self.unowned:
            raise SettingError(VARIABLE, UNOWNED.format(self.unowned[0]))

    @hookimpl
    def check_setup(self) -> Sequence[str]:
        """Report the folders whose files authors of several collections can publish."""
        named = [(name, self.owners[root]) for name, root in zip(self.names, self.roots, strict=True)]
        several = [(name, owners) for name, owners in named if owners is None or len(owners) > 1]
        return [f"{VARIABLE}: {name}: {_authors(owners)}" for name, owners in several]

    @hookimpl
    def resolve(self, asset: Asset) -> Location | None:
        """Know ``file:`` addresses that lead below a root once every link and ``..`` on the way has been followed."""
        path = _path(asset.href)
        # Only what begins like a root is looked at: even a look can mount a distant folder.
        if path is None or not _below(path, self.roots + self.names):
            return None
        real = os.path.realpath(path)
        if asset.path:
            # A link in the directory may lead about in it, and not out of it.
            directory, real = Path(real), os.path.realpath(f"{real}/{asset.path}")
            if not _below(real, (directory,)):
                raise Missing("The store does not have this file.")
            if directory in self.roots:
                log.warning("directory asset is a root folder", extra={"collection": asset.collection})
                raise Missing("A root folder is no directory asset.")
        place = _below(real, self.roots)
        if place is None:
            return None
        owners = self.owners[place[0]]
        if owners is not None and asset.collection not in owners:
            log.warning("%s leads into a folder that is not for its collection", asset.collection)
            raise Missing("There is no such file for this collection.")
        return Location(NAME, real)

    @hookimpl
    def deliver(self, location: Location) -> Stream | None:
        """Hand over a file below a root."""
        place = _below(location.path, self.roots)
        if location.store != NAME or place is None:
            return None
        with _told(), _open(*place) as file:
            found = os.fstat(file.fileno())
        modified = datetime.fromtimestamp(found.st_mtime, UTC)
        return Stream(partial(_read, *place, _state(found)), found.st_size, _state(found), modified)


class Pieces(Iterator[bytes]):
    """A part of a file, in pieces. If the file changes meanwhile, the end is not given but an error."""

    def __init__(self, file: BinaryIO, first: int, length: int, state: str) -> None:
        self._file = file
        self._left = length
        self._state = state
        file.seek(first)

    def __next__(self) -> bytes:
        if not self._left:
            self.close()
            raise StopIteration
        with _told():
            piece = self._file.read(min(CHUNK, self._left))
            last = len(piece) == self._left
            if not piece or (last and _state(os.fstat(self._file.fileno())) != self._state):
                self.close()
                raise OSError("changed while it was read")
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def create_plugin(environ: Mapping[str, str]) -> LocalFiles:
    """Make the plugin from ``STACFLASK_LOCAL_FILES_ROOTS``. Raises SettingError."""
    text = environ.get(VARIABLE, "").strip()
    owners = (
        _owners(text) if text.startswith("{") else [(word.strip(), None) for word in text.split(",") if word.strip()]
    )
    if not owners:
        raise SettingError(VARIABLE, "missing. It lists the folders that may be downloaded from, comma separated.")
    names = {_folder(word): found for word, found in owners}
    unowned = () if text.startswith("{") else tuple(names)
    # The deepest first: below a folder that is listed itself, the collections of the outer one count no more.
    ordered = sorted(names, key=lambda name: -len(name.resolve().parts))
    roots = {name.resolve(): names[name] for name in ordered}
    if len(roots) < len(owners):
        raise SettingError(VARIABLE, "names a folder twice")
    return LocalFiles(tuple(roots), tuple(ordered), roots, unowned)


def _owners(text: str) -> list[tuple[str, frozenset[str] | None]]:
    """Read the collections of each folder; None: any collection. Raises SettingError."""
    try:
        folders = decode_json(text)
    except ValueError as error:
        raise SettingError(VARIABLE, f"not JSON: {error}") from error
    return [(name, _collections(name, given)) for name, given in folders.items()]


def _collections(folder: str, given: Any) -> frozenset[str] | None:
    if given == EVERY_COLLECTION:
        return None
    if not isinstance(given, list) or not given or not all(isinstance(one, str) and one for one in given):
        raise SettingError(VARIABLE, f'{folder}: expected a list of collections, or "*" for every collection')
    return frozenset(given)


def _authors(owners: frozenset[str] | None) -> str:
    whose = f"any of {', '.join(sorted(owners))}" if owners else "any collection"
    return f"an author of {whose} can publish every file of this folder"


def _folder(word: str) -> Path:
    if not Path(word).is_absolute():
        raise SettingError(VARIABLE, f"{word!r} is not an absolute path")
    if not Path(word).is_dir():
        raise SettingError(VARIABLE, f"{word!r} is not a folder that can be read")
    return Path(word)


def _below(path: str, roots: Iterable[Path]) -> tuple[Path, Path] | None:
    """Give the root that a path is written to lie below, and the way from there."""
    written = Path(os.path.normpath(path))
    return next(((root, written.relative_to(root)) for root in roots if written.is_relative_to(root)), None)


def _path(href: str) -> str | None:
    """Give the path that a ``file:`` address of this machine means, decoded once; None for any other."""
    try:
        parts = urlsplit("" if CONTROL.search(href) else href)
    except ValueError:
        return None
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        return None
    path = os.fsdecode(unquote_to_bytes(parts.path))
    return path if path.startswith("/") and "\0" not in path else None


def _open(root: Path, below: Path) -> BinaryIO:
    """Open a regular file step by step from its root, following no link: none that was put there since, either."""
    folder = os.open(root, FOLDER)
    try:
        for step in below.parts[:-1]:
            inner = os.open(step, FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        return _open_regular(below.name, folder)
    finally:
        os.close(folder)


def _open_regular(name: str, folder: int) -> BinaryIO:
    # Looked at before it is opened, since opening a device can move it; and after, since it may have been exchanged.
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise FileNotFoundError(errno.ENOENT, "not a regular file", name)
    file = os.fdopen(os.open(name, FILE, dir_fd=folder), "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FileNotFoundError(errno.ENOENT, "not a regular file", name)
    return file


def _read(root: Path, below: Path, state: str, first: int, length: int) -> Iterator[bytes]:
    """Begin to read the very file that was found. What is wrong from the start is told at once."""
    with _told():
        file = _open(root, below)
        if _state(os.fstat(file.fileno())) != state:
            file.close()
            raise Unavailable("The file has just been replaced. Ask again.", retry_after=1)
        return Pieces(file, first, length, state)


def _state(found: os.stat_result) -> str:
    """Give an entity tag that changes whenever the file does."""
    return f'"{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}"'


@contextmanager
def _told() -> Iterator[None]:
    """Turn the system's errors into the house's: in full for the log, without detail for the client."""
    try:
        yield
    except OSError as error:
        if error.errno in ABSENT:
            raise Missing("The store does not have this file.") from error
        log.exception("a local file cannot be read")
        raise Unavailable("The store of this asset cannot be read at the moment.") from error

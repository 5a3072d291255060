"""Assets that are files in configured folders, streamed by this server. See docs/stores.md."""

import errno
import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

from stacflask import Asset, Location, Missing, Services, Setting, SettingError, Stream, Unavailable, hookimpl

from ._common.json_setting import decode_json

VARIABLE = "STACFLASK_LOCAL_FILES_ROOTS"

SETTINGS = (
    Setting(
        VARIABLE,
        "Folders whose files are delivered: comma-separated, or a JSON object with the collections of each folder.",
        required=True,
    ),
)
EVERY_COLLECTION = "*"
UNOWNED = (
    "{0}: no collections. Documents can be changed here, so an author of any collection could publish every file of "
    'this folder. Write {{"{0}": ["collection-a"]}}, or {{"{0}": "*"}} if every author may publish every file.'
)
STORE_NAME = "file"
CHUNK_BYTES = 512 * 1024
OPEN_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC
# If the system has it, O_PATH needs only the right to pass through a folder.
OPEN_FOLDER_FLAGS = OPEN_FLAGS | os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)
MISSING_ERRORS = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
OPEN_FILE_FLAGS = OPEN_FLAGS | os.O_RDONLY | os.O_NONBLOCK
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalFiles:
    """The plugin. It streams files below ``roots``, which have no symbolic links; ``names`` are the configured paths.

    ``owners``: the collections of each root; None: all collections. ``unowned``: the names of roots for which the
    setting has no collections.
    """

    roots: tuple[Path, ...]
    names: tuple[Path, ...]
    owners: Mapping[Path, frozenset[str] | None]
    unowned: tuple[Path, ...] = ()

    @hookimpl
    def startup(self, services: Services) -> None:
        """Raise SettingError for a folder whose files every author could publish."""
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
        """Return the location of a ``file:`` URL below a root, after links and ``..`` are resolved."""
        path = _path(asset.href)
        # Only paths below a root are resolved, because a system call for another path can mount a remote folder.
        if path is None or not _below(path, self.roots + self.names):
            return None
        real = os.path.realpath(path)
        if asset.path:
            # A link in the directory asset must not lead out of it.
            directory, real = Path(real), os.path.realpath(f"{real}/{asset.path}")
            if not _below(real, (directory,)):
                raise Missing("The store does not have this file.")
            if directory in self.roots:
                log.warning("directory asset is a root folder", extra={"collection": asset.collection})
                raise Missing("A root folder is no directory asset.")
        found = _below(real, self.roots)
        if found is None:
            return None
        owners = self.owners[found[0]]
        if owners is not None and asset.collection not in owners:
            log.warning("href in a folder of other collections", extra={"collection": asset.collection})
            raise Missing("There is no such file for this collection.")
        return Location(STORE_NAME, real)

    @hookimpl
    def deliver(self, location: Location) -> Stream | None:
        """Return a stream of a file below a root."""
        found = _below(location.path, self.roots)
        if location.store != STORE_NAME or found is None:
            return None
        with _mapped_errors(), _open(*found) as file:
            status = os.fstat(file.fileno())
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
        return Stream(partial(_read, *found, _etag(status)), status.st_size, _etag(status), modified)


class Chunks(Iterator[bytes]):
    """Chunks of a range of a file. If the file changes while it is read, the last chunk raises OSError."""

    def __init__(self, file: BinaryIO, first: int, length: int, etag: str) -> None:
        self._file = file
        self._left = length
        self._etag = etag
        file.seek(first)

    def __next__(self) -> bytes:
        if not self._left:
            self.close()
            raise StopIteration
        with _mapped_errors():
            chunk = self._file.read(min(CHUNK_BYTES, self._left))
            last = len(chunk) == self._left
            if not chunk or (last and _etag(os.fstat(self._file.fileno())) != self._etag):
                self.close()
                raise OSError("changed while it was read")
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def create_plugin(environ: Mapping[str, str]) -> LocalFiles:
    """Return the plugin. Raises SettingError."""
    text = environ.get(VARIABLE, "").strip()
    owners = (
        _owners(text) if text.startswith("{") else [(word.strip(), None) for word in text.split(",") if word.strip()]
    )
    if not owners:
        raise SettingError(VARIABLE, "missing. It lists the folders of downloads, comma-separated.")
    names = {_folder(word): found for word, found in owners}
    unowned = () if text.startswith("{") else tuple(names)
    # The deepest first: a nested folder has its own collections instead of those of the outer one.
    ordered = sorted(names, key=lambda name: -len(name.resolve().parts))
    roots = {name.resolve(): names[name] for name in ordered}
    if len(roots) < len(owners):
        raise SettingError(VARIABLE, "two paths lead to the same folder; folders must differ")
    return LocalFiles(tuple(roots), tuple(ordered), roots, unowned)


def _owners(text: str) -> list[tuple[str, frozenset[str] | None]]:
    """Parse the collections of each folder; None: all collections. Raises SettingError."""
    try:
        folders = decode_json(text)
    except ValueError as error:
        raise SettingError(VARIABLE, f"not JSON: {error}") from error
    return [(name, _collections(name, given)) for name, given in folders.items()]


def _collections(folder: str, given: Any) -> frozenset[str] | None:
    if given == EVERY_COLLECTION:
        return None
    if not isinstance(given, list) or not given or not all(isinstance(one, str) and one for one in given):
        raise SettingError(VARIABLE, f'{folder}: expected a list of collections, or "*" for all collections')
    return frozenset(given)


def _authors(owners: frozenset[str] | None) -> str:
    collections = f"any of {', '.join(sorted(owners))}" if owners else "any collection"
    return f"an author of {collections} can publish every file of this folder"


def _folder(word: str) -> Path:
    if not Path(word).is_absolute():
        raise SettingError(VARIABLE, f"expected an absolute path, got {word!r}")
    if not Path(word).is_dir():
        raise SettingError(VARIABLE, f"expected a readable folder, got {word!r}")
    return Path(word)


def _below(path: str, roots: Iterable[Path]) -> tuple[Path, Path] | None:
    """Return the root of a path, and the path relative to it, without resolving links."""
    normal = Path(os.path.normpath(path))
    return next(((root, normal.relative_to(root)) for root in roots if normal.is_relative_to(root)), None)


def _path(href: str) -> str | None:
    """Return the decoded path of a ``file:`` URL of this machine (RFC 8089); None for any other URL."""
    try:
        parts = urlsplit("" if CONTROL_CHARACTERS.search(href) else href)
    except ValueError:
        return None
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        return None
    path = os.fsdecode(unquote_to_bytes(parts.path))
    return path if path.startswith("/") and "\0" not in path else None


def _open(root: Path, below: Path) -> BinaryIO:
    """Open a regular file folder by folder from its root without following links, also those created meanwhile."""
    folder = os.open(root, OPEN_FOLDER_FLAGS)
    try:
        for step in below.parts[:-1]:
            inner = os.open(step, OPEN_FOLDER_FLAGS, dir_fd=folder)
            os.close(folder)
            folder = inner
        return _open_regular(below.name, folder)
    finally:
        os.close(folder)


def _open_regular(name: str, folder: int) -> BinaryIO:
    # Checked before it is opened, because opening a device can have effects; and again, because it may be replaced.
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise FileNotFoundError(errno.ENOENT, "not a regular file", name)
    file = os.fdopen(os.open(name, OPEN_FILE_FLAGS, dir_fd=folder), "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FileNotFoundError(errno.ENOENT, "not a regular file", name)
    return file


def _read(root: Path, below: Path, etag: str, first: int, length: int) -> Iterator[bytes]:
    """Open the file, check that it was not replaced, and return its chunks. Raises Missing, Unavailable."""
    with _mapped_errors():
        file = _open(root, below)
        if _etag(os.fstat(file.fileno())) != etag:
            file.close()
            raise Unavailable("The file has just been replaced. Try again.", retry_after=1)
        return Chunks(file, first, length, etag)


def _etag(status: os.stat_result) -> str:
    """Return an entity tag that changes with the file."""
    return f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"'


@contextmanager
def _mapped_errors() -> Iterator[None]:
    """Raise Missing or Unavailable for OSError. The log gets the details, the client does not."""
    try:
        yield
    except OSError as error:
        if error.errno in MISSING_ERRORS:
            raise Missing("The store does not have this file.") from error
        log.exception("local file not readable")
        raise Unavailable("The store of this asset cannot be read at the moment.") from error

"""Write ZIP archives that are sent while they are created. Files are not compressed (method "stored").

The position of each byte depends only on the names and sizes of the files. Checksums are known after a file was read;
they are in the data descriptor after the file and in the central directory at the end. Zip64 is used if a size or a
position needs it.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

_LOCAL, _DESCRIPTOR, _CENTRAL = 0x04034B50, 0x08074B50, 0x02014B50
_END64, _LOCATOR, _END = 0x06064B50, 0x07064B50, 0x06054B50
_FLAGS = 0x0808
"""Checksum and sizes are in a data descriptor; names are in UTF-8."""
_PLAIN, _ZIP64, _UNIX = 20, 45, 3 << 8
_MAX32, _MAX16 = 0xFFFFFFFF, 0xFFFF
_REGULAR = 0o100644 << 16
_EPOCH = (0, 0x21)  # 1980-01-01, the first date of the format


@dataclass(frozen=True, slots=True)
class File:
    """A file in an archive. ``start`` is the position of its first byte."""

    name: bytes
    size: int
    modified: datetime | None
    start: int

    @property
    def large(self) -> bool:
        """True if the size needs 64 bits."""
        return self.size >= _MAX32

    @property
    def header(self) -> bytes:
        """The local file header, before the bytes of the file."""
        sizes = (_MAX32, _MAX32) if self.large else (0, 0)
        extra = struct.pack("<HHQQ", 1, 16, 0, 0) if self.large else b""
        version = _ZIP64 if self.large else _PLAIN
        fixed = struct.pack(
            "<IHHHHHIIIHH", _LOCAL, version, _FLAGS, 0, *self._time, 0, *sizes, len(self.name), len(extra)
        )
        return fixed + self.name + extra

    def descriptor(self, checksum: int) -> bytes:
        """Return the data descriptor, after the bytes of the file."""
        return struct.pack("<IIQQ" if self.large else "<IIII", _DESCRIPTOR, checksum, self.size, self.size)

    @property
    def end(self) -> int:
        """The position of the next file."""
        return self.start + self.size + (24 if self.large else 16)

    @property
    def begin(self) -> int:
        """The position of the local file header."""
        return self.start - len(self.header)

    def entry(self, checksum: int) -> bytes:
        """Return the entry of the file in the central directory."""
        begin = self.begin
        wide = [self.size, self.size] if self.large else []
        wide += [begin] if begin >= _MAX32 else []
        extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        size, version = min(self.size, _MAX32), _ZIP64 if wide else _PLAIN
        names = len(self.name), len(extra), 0
        fixed = struct.pack(
            "<IHHHHHHIIIHHH", _CENTRAL, _UNIX | version, version, _FLAGS, 0, *self._time, checksum, size, size, *names
        )
        return fixed + struct.pack("<HHII", 0, 0, _REGULAR, min(begin, _MAX32)) + self.name + extra

    @property
    def _time(self) -> tuple[int, int]:
        moment = self.modified
        if moment is None or not 1980 <= moment.year < 2108:  # noqa: PLR2004 - the years of the format
            return _EPOCH
        time = moment.hour << 11 | moment.minute << 5 | moment.second // 2
        return time, (moment.year - 1980) << 9 | moment.month << 5 | moment.day


def layout(files: Sequence[tuple[str, int, datetime | None]]) -> tuple[list[File], int]:
    """Return the files with their positions, and the length of the archive.

    Args:
        files: Name, size in bytes and modification time of each file.
    """
    placed: list[File] = []
    position = 0
    for name, size, modified in files:
        bare = File(name.encode()[-_MAX16:], size, modified, 0)
        placed.append(File(bare.name, size, modified, position + len(bare.header)))
        position = placed[-1].end
    return placed, position + len(directory(placed, [0] * len(placed)))


def directory(files: Sequence[File], checksums: Sequence[int]) -> bytes:
    """Return the central directory, with its end records."""
    start = files[-1].end if files else 0
    entries = b"".join(file.entry(checksum) for file, checksum in zip(files, checksums, strict=True))
    count, size = len(files), len(entries)
    end = struct.pack(
        "<IHHHHIIH", _END, 0, 0, min(count, _MAX16), min(count, _MAX16), min(size, _MAX32), min(start, _MAX32), 0
    )
    if count < _MAX16 and size < _MAX32 and start < _MAX32:
        return entries + end
    end64 = struct.pack("<IQHHIIQQQQ", _END64, 44, _UNIX | _ZIP64, _ZIP64, 0, 0, count, count, size, start)
    return entries + end64 + struct.pack("<IIQI", _LOCATOR, 0, start + size, 1) + end

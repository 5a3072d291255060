"""The form of a ZIP archive that is sent as it is made: stored, with every length known before the first byte.

Where each byte stands follows from names and sizes alone; only the checksums are known once a file has been read, and
stand behind it (a data descriptor) and in the directory at the end. Zip64 where a file or place needs it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_LOCAL, _BEHIND, _CENTRAL = 0x04034B50, 0x08074B50, 0x02014B50
_END64, _LOCATOR, _END = 0x06064B50, 0x07064B50, 0x06054B50
_FLAGS = 0x0808
"""Checksum and sizes stand behind the file; names are UTF-8."""
_PLAIN, _ZIP64, _UNIX = 20, 45, 3 << 8
_FULL, _FULL16 = 0xFFFFFFFF, 0xFFFF
_REGULAR = 0o100644 << 16
_EPOCH = (0, 0x21)  # 1980-01-01, the first day that the form can tell


@dataclass(frozen=True, slots=True)
class File:
    """A file in an archive, with the place of its first byte in it."""

    name: bytes
    size: int
    modified: datetime | None
    start: int

    @property
    def large(self) -> bool:
        """Whether its size needs 64 bits."""
        return self.size >= _FULL

    @property
    def head(self) -> bytes:
        """What stands before it."""
        sizes = (_FULL, _FULL) if self.large else (0, 0)
        extra = struct.pack("<HHQQ", 1, 16, 0, 0) if self.large else b""
        version = _ZIP64 if self.large else _PLAIN
        fixed = struct.pack(
            "<IHHHHHIIIHH", _LOCAL, version, _FLAGS, 0, *self._time, 0, *sizes, len(self.name), len(extra)
        )
        return fixed + self.name + extra

    def behind(self, checksum: int) -> bytes:
        """Give what stands behind it."""
        return struct.pack("<IIQQ" if self.large else "<IIII", _BEHIND, checksum, self.size, self.size)

    @property
    def end(self) -> int:
        """The place where the next file begins."""
        return self.start + self.size + (24 if self.large else 16)

    @property
    def begin(self) -> int:
        """The place where what stands before it begins."""
        return self.start - len(self.head)

    def entry(self, checksum: int) -> bytes:
        """Give its line in the directory."""
        begin = self.begin
        wide = [self.size, self.size] if self.large else []
        wide += [begin] if begin >= _FULL else []
        extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        size, version = min(self.size, _FULL), _ZIP64 if wide else _PLAIN
        names = len(self.name), len(extra), 0
        fixed = struct.pack(
            "<IHHHHHHIIIHHH", _CENTRAL, _UNIX | version, version, _FLAGS, 0, *self._time, checksum, size, size, *names
        )
        return fixed + struct.pack("<HHII", 0, 0, _REGULAR, min(begin, _FULL)) + self.name + extra

    @property
    def _time(self) -> tuple[int, int]:
        moment = self.modified
        if moment is None or not 1980 <= moment.year < 2108:  # noqa: PLR2004 - what the form can tell
            return _EPOCH
        time = moment.hour << 11 | moment.minute << 5 | moment.second // 2
        return time, (moment.year - 1980) << 9 | moment.month << 5 | moment.day


def layout(files: Sequence[tuple[str, int, datetime | None]]) -> tuple[list[File], int]:
    """Give each file its place, and the length of the whole."""
    placed: list[File] = []
    position = 0
    for name, size, modified in files:
        bare = File(name.encode()[-_FULL16:], size, modified, 0)
        placed.append(File(bare.name, size, modified, position + len(bare.head)))
        position = placed[-1].end
    return placed, position + len(directory(placed, [0] * len(placed)))


def directory(files: Sequence[File], checksums: Sequence[int]) -> bytes:
    """Give what stands at the end."""
    start = files[-1].end if files else 0
    entries = b"".join(file.entry(checksum) for file, checksum in zip(files, checksums, strict=True))
    count, size = len(files), len(entries)
    end = struct.pack(
        "<IHHHHIIH", _END, 0, 0, min(count, _FULL16), min(count, _FULL16), min(size, _FULL), min(start, _FULL), 0
    )
    if count < _FULL16 and size < _FULL and start < _FULL:
        return entries + end
    end64 = struct.pack("<IQHHIIQQQQ", _END64, 44, _UNIX | _ZIP64, _ZIP64, 0, 0, count, count, size, start)
    return entries + end64 + struct.pack("<IIQI", _LOCATOR, 0, start + size, 1) + end

"""The bytes of a file or of standard input, decompressed by what they begin with.

Memory is bounded: by buffers, by zstd's window, and by what one step into a frame may yield.
"""

import gzip
import io
import os
import stat
import sys
import zlib
from pathlib import Path
from typing import Any, Final, Self

import zstandard

STDIN: Final = Path("-")
GZIP_SUFFIX: Final = ".gz"
ZSTD_SUFFIX: Final = ".zst"
COMPRESSED_SUFFIXES: Final = (GZIP_SUFFIX, ZSTD_SUFFIX)
GZIP_MAGIC: Final = b"\x1f\x8b"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
BUFFER_BYTES: Final = 64 * 1024
# What `zstd -d` allows without being asked; up to level 19 a file wants 8 MiB at most.
ZSTD_WINDOW_BYTES_MAX: Final = 128 * 1024 * 1024
# A block takes at least 4 bytes and yields at most 128 KiB, so that a step yields at most 32 MiB.
ZSTD_STEP_BYTES: Final = 1024

FAULTS: Final = (OSError, EOFError, zlib.error, zstandard.ZstdError)
"""What reading raises of content that is broken or cut off."""


class Content:
    """Open bytes; a context manager. Raises one of FAULTS as it is read."""

    def __init__(self, path: Path) -> None:
        self._file = (
            os.fdopen(sys.stdin.fileno(), "rb", closefd=False) if path == STDIN else path.open("rb")
        )
        self._counted = _Counted(self._file)
        self.reader = _decompressed(self._counted, path.suffix)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.close()
        self._file.close()

    @property
    def position(self) -> int:
        """Bytes read so far, as they are stored; ahead of what was decompressed by a buffer."""
        return self._counted.position


def size_of(path: Path) -> int | None:
    """Bytes on disk; None where they cannot be known: standard input, a pipe."""
    if path == STDIN:
        return None
    found = path.stat()
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _decompressed(counted: "_Counted", suffix: str) -> "io.BufferedReader[Any]":
    stored = io.BufferedReader(counted, BUFFER_BYTES)
    if counted.head.startswith(GZIP_MAGIC) or suffix == GZIP_SUFFIX:
        return io.BufferedReader(gzip.GzipFile(fileobj=stored), BUFFER_BYTES)
    if counted.head == ZSTD_MAGIC or suffix == ZSTD_SUFFIX:
        return io.BufferedReader(_Zstd(stored), BUFFER_BYTES)
    return stored


class _Counted(io.RawIOBase):
    """Looks at the first bytes, and then gives all of them, counted."""

    def __init__(self, file: io.BufferedReader) -> None:
        self.head = file.read(len(ZSTD_MAGIC))
        self.position = 0
        self._file = file
        self._again = self.head

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._again:
            count = len(self._again)
            buffer[:count] = self._again
            self._again = b""
        else:
            count = self._file.readinto1(buffer)
        self.position += count
        return count


class _Zstd(io.RawIOBase):
    """zstd frames one behind the other; a frame cut off is an EOFError, never an end."""

    def __init__(self, stored: "io.BufferedReader[Any]") -> None:
        self._stored = stored
        self._zstd = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._compressed = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            self._compressed = self._compressed or self._stored.read(ZSTD_STEP_BYTES)
            if not self._compressed:
                if self._frame is not None:
                    raise EOFError("it ends amid a zstd frame")
                return 0
            self._step()
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _step(self) -> None:
        if self._frame is None:
            self._frame = self._zstd.decompressobj()
        self._ready = memoryview(self._frame.decompress(self._compressed))
        self._compressed = b""
        if self._frame.eof:
            self._compressed = self._frame.unused_data
            self._frame = None

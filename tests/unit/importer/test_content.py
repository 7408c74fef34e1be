"""What compressed content may ask for: its frames are read in bounded memory."""

import tracemalloc
from pathlib import Path

import pytest
import zstandard

from abaxus_core.importer.content import ZSTD_WINDOW_BYTES_MAX, Content

MIB = 1024 * 1024


def test_a_frame_of_nothing_but_repetition_is_read_in_steps(tmp_path: Path) -> None:
    path = tmp_path / "e.zst"
    compressor = zstandard.ZstdCompressor().compressobj()
    with path.open("wb") as file:
        for _ in range(256):
            file.write(compressor.compress(bytes(MIB)))
        file.write(compressor.flush())
    tracemalloc.start()
    with Content(path) as content:
        read = sum(len(chunk) for chunk in iter(lambda: content.reader.read(MIB), b""))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read == 256 * MIB
    assert peak < 80 * MIB


def test_a_window_over_the_bound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.zst"
    window_log = ZSTD_WINDOW_BYTES_MAX.bit_length()
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    begun = compressor.compress(b"{}\n") + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    path.write_bytes(begun)
    with Content(path) as content, pytest.raises(zstandard.ZstdError, match="too much memory"):
        content.reader.read()


def test_frames_that_hold_nothing_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "e.zst"
    skippable = b"\x50\x2a\x4d\x18\x02\x00\x00\x00ab"
    path.write_bytes(zstandard.compress(b"") + skippable + zstandard.compress(b"{}\n") + skippable)
    with Content(path) as content:
        assert content.reader.read() == b"{}\n"
        assert content.position == path.stat().st_size

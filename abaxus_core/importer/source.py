"""Reading events from a file: NDJSON or CSV, gzip by suffix, one record after the other.

A record becomes the JSON of one event, byte for byte where it is JSON already, so that no number
changes on the way. What is wrong with an event is for the API to say.
"""

import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from abaxus_core.errors import InvalidInput

NDJSON_SUFFIXES: Final = (".ndjson", ".jsonl")
CSV_SUFFIX: Final = ".csv"
GZIP_SUFFIX: Final = ".gz"
FIELDS_NEEDED: Final = ("customer_id", "metric_key", "value", "timestamp", "idempotency_key")
FIELDS_OPTIONAL: Final = ("subscription_id",)
PROPERTY_PREFIX: Final = "properties."
BYTE_ORDER_MARK: Final = "\ufeff"
RECORD_BYTES_MAX: Final = 256 * 1024


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`number` counts from 1. `fault` is why the record cannot be sent, None when it can."""

    number: int
    event: bytes
    fault: str | None = None


class Source:
    """An open file of events; a context manager. Iterate `records` once."""

    def __init__(self, path: Path) -> None:
        self._kind = _kind(path)
        self._file = path.open("rb")
        self._size = path.stat().st_size
        zipped = path.suffix == GZIP_SUFFIX
        self._content = (
            io.BufferedReader(gzip.GzipFile(fileobj=self._file)) if zipped else self._file
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._content.close()
        self._file.close()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._size

    @property
    def position(self) -> int:
        """Bytes of them read so far, ahead of the records by a buffer."""
        return self._file.tell()

    def records(self) -> Iterator[Record]:
        """Every record; InvalidInput when the file as a whole is not what its suffix says."""
        rows = _ndjson(self._content) if self._kind == "ndjson" else _csv(self._content)
        try:
            yield from rows
        except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
            raise InvalidInput(f"the file cannot be read: {error}") from error


def _kind(path: Path) -> str:
    suffix = path.with_suffix("").suffix if path.suffix == GZIP_SUFFIX else path.suffix
    if suffix in NDJSON_SUFFIXES:
        return "ndjson"
    if suffix == CSV_SUFFIX:
        return "csv"
    raise InvalidInput(f"{path.name} must end in .ndjson, .jsonl or .csv, with or without .gz")


def _lines(content: "io.BufferedReader[Any]") -> Iterator[bytes]:
    number = 0
    while line := content.readline(RECORD_BYTES_MAX + 1):
        number += 1
        if len(line) > RECORD_BYTES_MAX:
            raise InvalidInput(f"line {number} is longer than {RECORD_BYTES_MAX} bytes")
        yield line


def _ndjson(content: "io.BufferedReader[Any]") -> Iterator[Record]:
    for number, line in enumerate(_lines(content), start=1):
        event = line.strip()
        if event:
            yield Record(number=number, event=event, fault=_fault(event))


def _fault(event: bytes) -> str | None:
    """One line that is no JSON object would spoil the whole request."""
    try:
        msgspec.json.decode(event, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return f"is not a JSON object: {error}"
    return None


def _csv(content: "io.BufferedReader[Any]") -> Iterator[Record]:
    rows = csv.reader((line.decode("utf-8") for line in _lines(content)), strict=True)
    header = [name.removeprefix(BYTE_ORDER_MARK) for name in next(rows, [])]
    _check_header(header)
    for number, row in enumerate(rows, start=1):
        fault = None if len(row) == len(header) else f"has {len(row)} of {len(header)} columns"
        yield Record(number=number, event=_event_of(header, row), fault=fault)


def _check_header(header: list[str]) -> None:
    missing = [name for name in FIELDS_NEEDED if name not in header]
    if missing:
        raise InvalidInput(f"the header lacks {', '.join(missing)}")
    for name in header:
        known = name in FIELDS_NEEDED or name in FIELDS_OPTIONAL
        if not known and not name.startswith(PROPERTY_PREFIX):
            raise InvalidInput(
                f"there is no field {name!r}; a property's column is called properties.NAME"
            )
    if len(set(header)) < len(header):
        raise InvalidInput("a column stands more than once in the header")


def _event_of(header: list[str], row: list[str]) -> bytes:
    """Empty cells are left out; values stay text, which the API reads exactly."""
    event: dict[str, object] = {}
    properties: dict[str, str] = {}
    for name, cell in zip(header, row, strict=False):
        if cell == "":
            continue
        if name.startswith(PROPERTY_PREFIX):
            properties[name.removeprefix(PROPERTY_PREFIX)] = cell
        else:
            event[name] = cell
    if properties:
        event["properties"] = properties
    return msgspec.json.encode(event)

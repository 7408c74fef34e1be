"""Reading events: NDJSON or CSV, one record after the other.

A record becomes the JSON of one event, byte for byte where it is JSON already and no flag maps it,
so that no number changes on the way. What is wrong with an event is for the API to say.
"""

import codecs
import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, Self

import msgspec

from abaxus_core.errors import InvalidInput
from abaxus_core.importer.content import COMPRESSED_SUFFIXES, FAULTS, STDIN, Content
from abaxus_core.importer.mapping import AS_NAMED, Mapping, Objects, Rows, Unmapped

Kind = Literal["ndjson", "csv"]

NDJSON_SUFFIXES: Final = (".ndjson", ".jsonl")
CSV_SUFFIX: Final = ".csv"
RECORD_BYTES_MAX: Final = 256 * 1024


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why an event is not taken; the API's own words, or ours for what is not worth sending."""

    code: str
    message: str
    field: str | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`number` counts from 1: the line, or the row below a header. One with a fault is not sent."""

    number: int
    event: bytes
    fault: Fault | None = None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """How a source is read; `kind` None goes by the file's suffix."""

    kind: Kind | None = None
    mapping: Mapping = AS_NAMED


class Source:
    """Open events; a context manager. Iterate `records` once."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self.left_aside: tuple[str, ...] = ()
        self._kind = reading.kind or kind_of(path)
        self._mapping = reading.mapping
        self._content = Content(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._content.__exit__()

    @property
    def position(self) -> int:
        """Bytes read so far, ahead of the records by a buffer."""
        return self._content.position

    def records(self) -> Iterator[Record]:
        """Every record; InvalidInput when the source as a whole is not what it is said to be."""
        lines = _lines(self._content.reader)
        try:
            yield from self._rows(lines) if self._kind == "csv" else self._objects(lines)
        except (*FAULTS, UnicodeDecodeError, csv.Error) as error:
            raise InvalidInput(f"the file cannot be read: {error}") from error

    def _objects(self, lines: Iterator[bytes]) -> Iterator[Record]:
        read = _mapped(Objects(self._mapping)) if self._mapping.given else _as_it_is
        for number, line in enumerate(lines, start=1):
            event = line.strip()
            if event:
                yield read(number, event)

    def _rows(self, lines: Iterator[bytes]) -> Iterator[Record]:
        table = csv.reader((line.decode("utf-8") for line in lines), strict=True)
        rows = Rows(self._mapping, next(table, []))
        self.left_aside = rows.left_aside
        for number, cells in enumerate(table, start=1):
            if len(cells) == rows.width:
                yield Record(number=number, event=rows.event_of(cells))
            elif cells:
                message = f"has {len(cells)} of {rows.width} columns"
                fault = Fault(code=InvalidInput.default_code, message=message)
                yield Record(number=number, event=msgspec.json.encode(cells), fault=fault)


def kind_of(path: Path) -> Kind:
    """What the suffix says. Raises InvalidInput where it says nothing."""
    suffix = path.with_suffix("").suffix if path.suffix in COMPRESSED_SUFFIXES else path.suffix
    if suffix in NDJSON_SUFFIXES:
        return "ndjson"
    if suffix == CSV_SUFFIX:
        return "csv"
    if path == STDIN:
        raise InvalidInput("standard input needs --format ndjson or --format csv")
    raise InvalidInput(
        f"{path.name} must end in .ndjson, .jsonl or .csv, with or without .gz or .zst, or be "
        "told by --format ndjson or --format csv"
    )


def _lines(content: "io.BufferedReader[Any]") -> Iterator[bytes]:
    """Each line, the first one without a byte order mark; InvalidInput for one too long."""
    number = 0
    while line := content.readline(RECORD_BYTES_MAX + 1):
        number += 1
        if len(line) > RECORD_BYTES_MAX:
            raise InvalidInput(f"line {number} is longer than {RECORD_BYTES_MAX} bytes")
        yield line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


class _AnyObject(msgspec.Struct):
    """Takes any JSON object and keeps nothing of it."""


_checker = msgspec.json.Decoder(_AnyObject)


def _as_it_is(number: int, line: bytes) -> Record:
    """One line that is no JSON object would spoil the whole request."""
    try:
        _checker.decode(line)
        if not line.isascii():
            line.decode("utf-8")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _no_object(number, line, error)
    return Record(number=number, event=line)


def _mapped(objects: Objects) -> Callable[[int, bytes], Record]:
    def read(number: int, line: bytes) -> Record:
        checked = _as_it_is(number, line)
        if checked.fault is not None:
            return checked
        try:
            return Record(number=number, event=objects.event_of(line))
        except Unmapped as error:
            fault = Fault(code=error.code, message=error.message, field=error.field)
            return Record(number=number, event=line, fault=fault)

    return read


def _no_object(number: int, line: bytes, error: Exception) -> Record:
    fault = Fault(code="MALFORMED_JSON", message=f"is not a JSON object: {error}")
    return Record(number=number, event=line, fault=fault)

"""Resolved documents: stored with the change that made them, read by checks with their usage."""

from collections.abc import Collection, Sequence
from datetime import date
from decimal import Decimal
from typing import Final, TypeAlias

import msgspec

from abaxus_core.domain.entitlement_documents import FORMAT, Document, Measure
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries

_sql = queries("entitlement_documents")
_begin = _sql.exec("begin")
_claim = _sql.many("claim")
_store = _sql.exec("store")
_stored = _sql.many("stored")
_look = _sql.many("look")

_Window: TypeAlias = tuple[int, str, date, date, date, date]
_WINDOW_FIELDS: Final = 6

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Document)


class Probe(msgspec.Struct, frozen=True):
    """Ask whether a customer's document is still the known one, and how much is used of a measure.

    `known_version` None: no document is known. `measure` None: only the document is asked for.
    """

    customer_id: str
    known_version: int | None
    measure: Measure | None


class Seen(msgspec.Struct, frozen=True, gc=False):
    """What a probe found. `customer_no` None: no such customer; `version` None: no document.

    `document` is None, too, where its version is the known one. `value` is the aggregate of the
    whole days; `head` and `tail` are stamps, which no two states of the days there share. Those
    three are None without events.
    """

    customer_no: int | None
    version: int | None
    document: str | None
    value: Decimal | None
    head: str | None
    tail: str | None


async def begin(conn: Connection, document: Document) -> None:
    """Store a new customer's document."""
    await _begin(conn, document.customer_no, _encoder.encode(document).decode())


async def claim(conn: Connection, customer_ids: Collection[str]) -> list[int]:
    """Hold the documents of some customers until the transaction ends, a version on.

    Returns the customers' numbers.
    """
    return [row["customer_no"] for row in await _claim(conn, sorted(customer_ids))]


async def store(conn: Connection, documents: Sequence[Document]) -> None:
    """Store documents that are held."""
    await _store(
        conn,
        [document.customer_no for document in documents],
        [_encoder.encode(document).decode() for document in documents],
    )


async def stored(conn: Connection, customer_nos: Sequence[int]) -> dict[int, Document]:
    """The documents of these customers by number, where there is one that this release reads."""
    rows = await _stored(conn, customer_nos)
    found = {row["customer_no"]: decoded(row["document"]) for row in rows}
    return {number: document for number, document in found.items() if document is not None}


def decoded(text: str) -> Document | None:
    """The document; None where another release made it."""
    try:
        document = _decoder.decode(text)
    except msgspec.ValidationError:
        return None
    return document if document.format == FORMAT else None


async def look(conn: Connection, probes: Sequence[Probe]) -> list[Seen]:
    """What the probes find, in order, all at one instant."""
    numbers: dict[_Window, int] = {}
    windows = [probe.measure and _numbered(probe.measure, numbers) for probe in probes]
    fields = tuple(zip(*numbers, strict=True)) or ((),) * _WINDOW_FIELDS
    rows = await _look(
        conn,
        [probe.customer_id for probe in probes],
        [probe.known_version for probe in probes],
        windows,
        *fields,
    )
    return [Seen(*row.values()) for row in rows]


def _numbered(measure: Measure, numbers: dict[_Window, int]) -> int:
    cut, metering = measure.cut, measure.metering
    window = (
        metering.metric_no,
        metering.aggregation,
        cut.from_day,
        cut.first_day,
        cut.after_day,
        cut.to_day,
    )
    return numbers.setdefault(window, len(numbers) + 1)

"""What `abaxus verify` reads of many customers: pages in one order, sums to hold them against."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

import msgspec

from abaxus_core.domain.evidence import Collected
from abaxus_core.domain.instants import INSTANT_MIN
from abaxus_core.domain.true_up import Billed
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries

_sql = queries("verification")
_customers_after = _sql.many("customers_after")
_sizes = _sql.one("sizes")
_events_of = _sql.many("events_of")
_rollups_of = _sql.many("rollups_of")
_key_sums = _sql.many("key_sums")
_repeated_events = _sql.many("repeated_events")
_billed_before = _sql.many("billed_before")
_credits = _sql.many("credits")
_succeeded_payments = _sql.many("succeeded_payments")
_numbers = _sql.one("numbers")
_number_gaps = _sql.many("number_gaps")

EVENTS_AT_ONCE: Final = 1_000
ROLLUPS_AT_ONCE: Final = 2_000
SHOWN_MAX: Final = 100


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Customers with numbers from `first_no` to `last_no`, both included; ids by number."""

    ids: dict[int, str]

    @property
    def first_no(self) -> int:
        return min(self.ids)

    @property
    def last_no(self) -> int:
        return max(self.ids)


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    invoice_count: int
    event_count: int


class KeptEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it is stored and where; `properties` as jsonb spells them."""

    customer_no: int
    metric_no: int
    occurred_at: datetime
    arrival_no: int
    landing_no: int
    payload_hash: int
    value: Decimal
    idempotency_key: str
    subscription_id: str | None
    properties: str | None
    partition: str


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's UTC day of a metric, as its rollup has it or as its events come to.

    `last_event`: instant in seconds, arrival and value of the last one, where it is kept.
    """

    customer_no: int
    metric_no: int
    day: date
    event_count: int
    digest: int
    value_sum: Decimal
    value_max: Decimal
    value_min: Decimal
    last_event: tuple[Decimal, ...] | None
    landing_no: int

    @property
    def place(self) -> tuple[int, int, date]:
        return self.customer_no, self.metric_no, self.day


class KeySum(msgspec.Struct, frozen=True, kw_only=True):
    """How many keys a customer has, and the sum of their payload hashes."""

    key_count: int = 0
    digest: int = 0


class Credit(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's credit before an invoice, and what the invoice added or, negative, took."""

    before_minor: int = 0
    change_minor: int = 0


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """Of all invoices, and the counter that gives the next number."""

    invoice_count: int
    numbered_count: int
    highest: int
    counter: int


async def customers_after(conn: Connection, after_no: int, *, rows_max: int) -> Span | None:
    """Return the next customers in order of their numbers; None when there are no more."""
    rows = await _customers_after(conn, after_no, rows_max)
    return Span(ids={row["customer_no"]: row["customer_id"] for row in rows}) if rows else None


async def sizes(conn: Connection) -> Sizes:
    """Return how much there is to look at."""
    return Sizes(**dict(await _sizes(conn)))


async def events_of(conn: Connection, span: Span) -> AsyncIterator[list[KeptEvent]]:
    """Yield pages of all events of customers, by customer, metric and time."""
    after: tuple[int, int, datetime, int] = (span.first_no, 0, INSTANT_MIN, 0)
    while True:
        rows = await _events_of(conn, span.first_no, span.last_no, *after, EVENTS_AT_ONCE)
        if rows:
            yield [KeptEvent(**dict(row)) for row in rows]
        if len(rows) < EVENTS_AT_ONCE:
            return
        last = rows[-1]
        after = (last["customer_no"], last["metric_no"], last["occurred_at"], last["arrival_no"])


async def rollups_of(conn: Connection, span: Span) -> AsyncIterator[Day]:
    """Yield all rollups of customers, by customer, metric and day."""
    after: tuple[int, int, date] = (span.first_no, 0, INSTANT_MIN.astimezone(UTC).date())
    while True:
        rows = await _rollups_of(conn, span.last_no, *after, ROLLUPS_AT_ONCE)
        for row in rows:
            fields = {name: value for name, value in row.items() if name != "keeps_last"}
            last = tuple(row["last_event"]) if row["keeps_last"] and row["last_event"] else None
            yield Day(**{**fields, "digest": int(row["digest"]), "last_event": last})
        if len(rows) < ROLLUPS_AT_ONCE:
            return
        after = (rows[-1]["customer_no"], rows[-1]["metric_no"], rows[-1]["day"])


async def key_sums(conn: Connection, span: Span) -> dict[int, KeySum]:
    """Return of each customer who has any how many keys there are, and what they sum to."""
    return {
        row["customer_no"]: KeySum(key_count=row["key_count"], digest=int(row["digest"]))
        for row in await _key_sums(conn, span.first_no, span.last_no)
    }


async def repeated_events(conn: Connection, customer_no: int) -> dict[str, int]:
    """Return how often a key stands that stands more than once, SHOWN_MAX of them at most."""
    rows = await _repeated_events(conn, customer_no, SHOWN_MAX)
    return {row["idempotency_key"]: row["event_count"] for row in rows}


async def billed_before(
    conn: Connection, invoice_ids: Sequence[str]
) -> dict[tuple[str, int], Billed]:
    """Return what the revisions before each line billed, by invoice and number of the line."""
    return {
        (row["invoice_id"], row["line_no"]): Billed(
            amount_minor=int(row["amount_minor"]),
            exact_amount=row["exact_amount"],
            revisions=row["revisions"],
        )
        for row in await _billed_before(conn, invoice_ids)
    }


async def credits_of(conn: Connection, invoice_ids: Sequence[str]) -> dict[str, Credit]:
    """Return the credit that invoices found and moved, of those whose customer ever had any."""
    return {
        row["invoice_id"]: Credit(
            before_minor=int(row["before_minor"]), change_minor=int(row["change_minor"])
        )
        for row in await _credits(conn, invoice_ids)
    }


async def succeeded_payments(
    conn: Connection, invoice_ids: Sequence[str]
) -> dict[str, list[Collected]]:
    """Return the payments that collected each invoice."""
    found: dict[str, list[Collected]] = {}
    for row in await _succeeded_payments(conn, invoice_ids):
        found.setdefault(row["invoice_id"], []).append(
            Collected(
                payment_id=row["payment_id"],
                amount_minor=int(row["amount_minor"]),
                currency=row["currency"],
            )
        )
    return found


async def numbers(conn: Connection) -> Numbers:
    """Return how many invoices there are, numbered and not, and the highest number."""
    return Numbers(**dict(await _numbers(conn)))


async def number_gaps(conn: Connection) -> list[tuple[int, int]]:
    """Return the numbers on both sides of each gap, SHOWN_MAX at most; 0 is before the first."""
    return [(row["before"], row["number"]) for row in await _number_gaps(conn, SHOWN_MAX)]

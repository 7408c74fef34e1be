"""Rating: what each of a chunk of customers would be invoiced at a cutoff, as of a watermark.

What they may owe for is sheets.py's; here it is counted, in sets, and one customer is a chunk of
one. The rules are domain/true_up.py's; what becomes of a statement (an invoice, a
calculation) is for invoicing.py and calculations.py.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import NamedTuple

import msgspec

from abaxus_core.domain.invoices import Line
from abaxus_core.domain.metrics import Metric
from abaxus_core.domain.periods import Period
from abaxus_core.domain.statements import check_amounts
from abaxus_core.domain.true_up import (
    Billed,
    ChargeKey,
    Due,
    Usage,
    fee_lines,
    reversals,
    usage_lines,
)
from abaxus_core.domain.windows import billed_through_after
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.turns import in_turns
from abaxus_core.repositories import billing, events, invoices
from abaxus_core.repositories.billing import Account, Mark
from abaxus_core.repositories.events import Window
from abaxus_core.services import sheets
from abaxus_core.services.sheets import Ask, Entry, Part, Sheet

WINDOWS_AT_ONCE_MAX = 10_000


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer would be invoiced after `account.last_sequence`.

    `cutoff` is the asked one, snapped to a period's end. Without lines there is nothing new;
    `marks` hold all the same, unless the rating was of a part (`within`).
    """

    account: Account
    cutoff: datetime
    watermark: int
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    credit_minor: int


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What was used, by slot; what was billed, by subscription; `latest` lines to give back."""

    usage: Mapping["Slot", Usage]
    billed: Mapping[str, Mapping[ChargeKey, Billed]]
    latest: Mapping[ChargeKey, Line]


class Slot(NamedTuple):
    """What is counted once: a customer's events of a metric in a stretch of time, but for its
    pauses, that landed by the watermark.
    """

    customer_no: int
    stretch: Period
    pauses: tuple[Period, ...]
    metric_key: str
    watermark: int


async def statements(conn: Connection, customer_nos: Sequence[int], ask: Ask) -> list[Statement]:
    """Return a statement for each customer, in order of their numbers.

    The sequences in it are read first and the watermark before that, so an invoice stored on them
    holds whatever happened meanwhile or fails on invoices_customer_sequence_once.
    """
    of_all = await sheets.read(conn, customer_nos, ask)
    billed = await billing.billed(conn, _periods(of_all.parts))
    # A rating that overtook this one counted further: to count less would give usage back.
    watermark = max([ask.watermark, *(one.watermark for one in billed.values())])
    known = Known(
        usage=await usage_of(conn, _slots(of_all.parts, watermark), of_all.metrics),
        billed=_by_subscription(billed),
        latest=await _latest(conn, of_all.parts, billed),
    )
    return [_statement(sheet, known, watermark) async for sheet in in_turns(of_all.sheets)]


def _by_subscription(
    billed: Mapping[ChargeKey, Billed],
) -> dict[str, dict[ChargeKey, Billed]]:
    found: defaultdict[str, dict[ChargeKey, Billed]] = defaultdict(dict)
    for key, one in billed.items():
        found[key.subscription_id][key] = one
    return found


async def _latest(
    conn: Connection, parts: Iterable[Part], billed: Mapping[ChargeKey, Billed]
) -> dict[ChargeKey, Line]:
    """The last line of what was billed and that nothing is owed for any more: as a rule, none."""
    owed = {key for part in parts for key in part.keys}
    gone = [key for key, one in billed.items() if key not in owed and one.amount_minor != 0]
    return await invoices.latest_lines(conn, gone) if gone else {}


def _slots(parts: Iterable[Part], watermark: int) -> Iterator[Slot]:
    for part in parts:
        for entry in part.entries:
            yield from slots_of(part, entry, watermark)


def slots_of(part: Part, entry: Entry, watermark: int) -> Iterator[Slot]:
    """Yield what has to be counted to rate an entry; where nothing can have been used, nothing."""
    for due in entry.dues:
        if due.usage_period.start < due.usage_period.end:
            for charge in due.charges:
                yield _slot(part, due, charge.metric_key, watermark)


def _slot(part: Part, due: Due, metric_key: str, watermark: int) -> Slot:
    customer_no = part.subscription.customer_no
    return Slot(customer_no, due.usage_period, due.segment.pauses, metric_key, watermark)


async def usage_of(
    conn: Connection, slots: Iterable[Slot], metrics: Mapping[str, Metric]
) -> dict[Slot, Usage]:
    """Return what was used in each slot."""
    wanted = iter(dict.fromkeys(slots))
    usage: dict[Slot, Usage] = {}
    while batch := list(islice(wanted, WINDOWS_AT_ONCE_MAX)):
        found = await events.aggregate(conn, [_window(slot, metrics) for slot in batch])
        for slot, one in zip(batch, found, strict=True):
            usage[slot] = Usage(quantity=one.value, event_count=one.event_count, digest=one.digest)
    return usage


def _window(slot: Slot, metrics: Mapping[str, Metric]) -> Window:
    return events.window_of(
        metrics[slot.metric_key],
        slot.customer_no,
        start=slot.stretch.start,
        end=slot.stretch.end,
        pauses=slot.pauses,
        watermark=slot.watermark,
    )


def _periods(parts: Iterable[Part]) -> list[tuple[str, datetime]]:
    return [
        (part.subscription.id, entry.window.period.start)
        for part in parts
        for entry in part.entries
    ]


def _statement(sheet: Sheet, known: Known, watermark: int) -> Statement:
    lines = tuple(line for part in sheet.parts for line in lines_of(part, known, watermark))
    check_amounts(lines)
    return Statement(
        account=sheet.account,
        cutoff=sheet.cutoff,
        watermark=watermark,
        lines=lines,
        marks=tuple(_mark(part) for part in sheet.parts if part.entries),
        credit_minor=sheet.credit_minor,
    )


def _mark(part: Part) -> Mark:
    return Mark(
        subscription_id=part.subscription.id,
        billed_through=billed_through_after(
            part.subscription.billed_through, [entry.window for entry in part.entries]
        ),
        amendments_applied=sum(one.status == "applied" for one in part.subscription.amendments),
    )


def lines_of(part: Part, known: Known, watermark: int) -> list[Line]:
    """Return by period the lines of its fees, then its usage; at the end what is given back."""
    billed = known.billed.get(part.subscription.id, {})
    lines: list[Line] = []
    for entry in part.entries:
        lines += fee_lines(
            part.subscription.id, entry.window, entry.fees, billed=billed, currency=part.currency
        )
        for due in entry.dues:
            lines += usage_lines(
                due,
                usage=_counted(part, due, known.usage, watermark),
                billed=billed,
                currency=part.currency,
                watermark=watermark,
            )
    return lines + reversals(billed, part.keys, known.latest, part.currency)


def _counted(part: Part, due: Due, usage: Mapping[Slot, Usage], watermark: int) -> dict[str, Usage]:
    slots = {
        charge.metric_key: _slot(part, due, charge.metric_key, watermark) for charge in due.charges
    }
    return {key: usage[slot] for key, slot in slots.items() if slot in usage}

"""Rating: what each of a chunk of customers would be invoiced at a cutoff, as of a watermark.

Reads everything in sets, so that five hundred customers cost the round trips of one; one customer
is a chunk of one. The rules are domain/true_up.py's; what becomes of a statement (an invoice, a
calculation) is for invoicing.py and calculations.py.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from itertools import chain, islice
from typing import TypeAlias

import msgspec

from abaxus_core.domain.fees import Fee, fees_of
from abaxus_core.domain.invoices import Line
from abaxus_core.domain.lives import Life, life_of
from abaxus_core.domain.metrics import Metric
from abaxus_core.domain.periods import SNAP, Period
from abaxus_core.domain.plans import metric_keys_of
from abaxus_core.domain.pricing import Charge
from abaxus_core.domain.statements import check_amounts, effective_cutoff
from abaxus_core.domain.subscriptions import Subscription, Terms
from abaxus_core.domain.true_up import (
    Billed,
    ChargeKey,
    Due,
    Usage,
    dues_of,
    fee_key,
    fee_lines,
    key_of,
    reversals,
    usage_lines,
)
from abaxus_core.domain.windows import Window, billed_through_after, windows_due
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import billing, events, invoices, metrics
from abaxus_core.repositories.billing import Account, Mark, PinnedPlan

WINDOWS_AT_ONCE_MAX = 10_000


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What to rate: usage before `cutoff` that landed at or below `watermark`, or below that of
    the lines it adds to, where theirs is higher.

    `within`: only billing periods that overlap it; None for all that is due.
    """

    cutoff: datetime
    watermark: int
    within: Period | None = None


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


class _Book(msgspec.Struct, frozen=True, kw_only=True):
    """Everything read about a chunk before its usage."""

    accounts: Sequence[Account]
    lives: Mapping[int, Sequence[tuple[Subscription, Life]]]
    plans: Mapping[Terms, PinnedPlan]
    metrics: Mapping[str, Metric]
    changed_days: billing.ChangedDays
    open_windows: billing.OpenWindows
    credits: Mapping[int, int]


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription's share of a statement."""

    subscription: Subscription
    currency: str
    entries: Sequence["_Entry"]


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A window, with what may be owed in it."""

    window: Window
    dues: Sequence[Due]
    fees: Sequence[Fee]


class _Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's statement before its usage is known."""

    account: Account
    cutoff: datetime
    parts: Sequence[_Part]


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """What was used, by slot; what was billed, by subscription; `latest` lines to give back."""

    usage: Mapping["_Slot", Usage]
    billed: Mapping[str, Mapping[ChargeKey, Billed]]
    latest: Mapping[ChargeKey, Line]


_Slot: TypeAlias = tuple[int, Period, tuple[Period, ...], str]


async def statements(conn: Connection, customer_nos: Sequence[int], ask: Ask) -> list[Statement]:
    """Return a statement for each customer, in order of their numbers.

    The sequences in it are read first and the watermark before that, so an invoice stored on them
    holds whatever happened meanwhile or fails on invoices_customer_sequence_once.
    """
    book = await _read(conn, customer_nos, ask.cutoff)
    sheets = [_sheet(book, account, ask) for account in book.accounts]
    parts = [part for sheet in sheets for part in sheet.parts]
    billed = await billing.billed(conn, _periods(parts))
    # A rating that overtook this one counted further: to count less would give usage back.
    watermark = max([ask.watermark, *(one.watermark for one in billed.values())])
    known = _Known(
        usage=await _usage(conn, book.metrics, parts, watermark),
        billed=_by_subscription(billed),
        latest=await _latest(conn, parts, billed),
    )
    return [_statement(book, sheet, known, watermark) for sheet in sheets]


def _by_subscription(
    billed: Mapping[ChargeKey, Billed],
) -> dict[str, dict[ChargeKey, Billed]]:
    found: defaultdict[str, dict[ChargeKey, Billed]] = defaultdict(dict)
    for key, one in billed.items():
        found[key.subscription_id][key] = one
    return found


async def _latest(
    conn: Connection, parts: Iterable[_Part], billed: Mapping[ChargeKey, Billed]
) -> dict[ChargeKey, Line]:
    """The last line of what was billed and that nothing is owed for any more: as a rule, none."""
    owed = {key for part in parts for key in _keys(part)}
    gone = [key for key, one in billed.items() if key not in owed and one.amount_minor != 0]
    return await invoices.latest_lines(conn, gone) if gone else {}


def _keys(part: _Part) -> set[ChargeKey]:
    """Everything that the part may owe something under."""
    return {
        key_of(due, charge)
        for entry in part.entries
        for due in entry.dues
        for charge in due.charges
    } | {
        fee_key(part.subscription.id, entry.window, fee)
        for entry in part.entries
        for fee in entry.fees
    }


async def _read(conn: Connection, customer_nos: Sequence[int], cutoff: datetime) -> _Book:
    accounts = await billing.accounts(conn, customer_nos)
    subscriptions = await billing.subscriptions(conn, customer_nos, started_before=cutoff + SNAP)
    lives = {
        customer_no: [(one, life_of(one)) for one in of_customer]
        for customer_no, of_customer in subscriptions.items()
    }
    plans = await billing.plans(
        conn,
        {
            stretch.terms
            for of_customer in lives.values()
            for _, life in of_customer
            for stretch in life.stretches
        },
    )
    return _Book(
        accounts=accounts,
        lives=lives,
        plans=plans,
        metrics=await metrics.find(
            conn, metric_keys_of(chain.from_iterable(plan.charges for plan in plans.values()))
        ),
        changed_days=await billing.changed_days(conn, customer_nos),
        open_windows=await billing.open_windows(conn, customer_nos),
        credits=await billing.credits_of(conn, customer_nos),
    )


def _sheet(book: _Book, account: Account, ask: Ask) -> _Sheet:
    # Without a currency it had none; what was subscribed to since is left to the next rating.
    lives = book.lives.get(account.customer_no, ()) if account.currency else ()
    cutoff = effective_cutoff(
        ask.cutoff, [(life, book.plans[life.stretches[0].terms].cadence) for _, life in lives]
    )
    parts = [_part(book, subscription, life, cutoff, ask.within) for subscription, life in lives]
    return _Sheet(account=account, cutoff=cutoff, parts=parts)


def _part(
    book: _Book, subscription: Subscription, life: Life, cutoff: datetime, within: Period | None
) -> _Part:
    # All versions of a life are of one currency and cadence: amendments see to it.
    plan = book.plans[life.stretches[0].terms]
    charges = {one.terms: book.plans[one.terms].charges for one in life.stretches}
    windows = windows_due(
        life,
        plan.cadence,
        billed_through=subscription.billed_through,
        cutoff=cutoff,
        billed_to=book.open_windows.get(subscription.id, {}),
        changed_days=_changed_days(book, subscription, charges.values()),
    )
    kept = [window for window in windows if within is None or _overlap(window.whole, within)]
    return _Part(
        subscription=subscription,
        currency=plan.currency,
        entries=[
            _Entry(
                window=window,
                dues=dues_of(subscription.id, life, window, charges),
                fees=fees_of(life, window.whole, charges),
            )
            for window in kept
        ],
    )


def _overlap(one: Period, other: Period) -> bool:
    return one.start < other.end and other.start < one.end


def _changed_days(
    book: _Book, subscription: Subscription, charges: Iterable[Sequence[Charge]]
) -> Collection[date]:
    days: set[date] = set()
    for metric_key in metric_keys_of(chain.from_iterable(charges)):
        days |= set(
            book.changed_days.get((subscription.id, book.metrics[metric_key].metric_no), ())
        )
    return days


async def _usage(
    conn: Connection, metrics_by_key: Mapping[str, Metric], parts: Iterable[_Part], watermark: int
) -> dict[_Slot, Usage]:
    slots = iter(_slots(parts))
    usage: dict[_Slot, Usage] = {}
    while batch := list(islice(slots, WINDOWS_AT_ONCE_MAX)):
        windows = [
            events.window_of(
                metrics_by_key[metric_key],
                customer_no,
                start=stretch.start,
                end=stretch.end,
                pauses=pauses,
            )
            for customer_no, stretch, pauses, metric_key in batch
        ]
        found = await events.aggregate(conn, windows, watermark)
        for slot, one in zip(batch, found, strict=True):
            usage[slot] = Usage(quantity=one.value, event_count=one.event_count, digest=one.digest)
    return usage


def _slots(parts: Iterable[_Part]) -> list[_Slot]:
    """What to aggregate, each once: customer, stretch of some length but for its pauses, metric."""
    return list(
        dict.fromkeys(
            _slot(part, due, charge.metric_key)
            for part in parts
            for entry in part.entries
            for due in entry.dues
            for charge in due.charges
            if due.usage_period.start < due.usage_period.end
        )
    )


def _slot(part: _Part, due: Due, metric_key: str) -> _Slot:
    return part.subscription.customer_no, due.usage_period, due.segment.pauses, metric_key


def _periods(parts: Iterable[_Part]) -> list[tuple[str, datetime]]:
    return [
        (part.subscription.id, entry.window.period.start)
        for part in parts
        for entry in part.entries
    ]


def _statement(book: _Book, sheet: _Sheet, known: _Known, watermark: int) -> Statement:
    lines = tuple(line for part in sheet.parts for line in _lines(part, known, watermark))
    check_amounts(lines)
    return Statement(
        account=sheet.account,
        cutoff=sheet.cutoff,
        watermark=watermark,
        lines=lines,
        marks=tuple(_mark(part) for part in sheet.parts if part.entries),
        credit_minor=book.credits.get(sheet.account.customer_no, 0),
    )


def _mark(part: _Part) -> Mark:
    return Mark(
        subscription_id=part.subscription.id,
        billed_through=billed_through_after(
            part.subscription.billed_through, [entry.window for entry in part.entries]
        ),
        amendments_applied=sum(one.status == "applied" for one in part.subscription.amendments),
    )


def _lines(part: _Part, known: _Known, watermark: int) -> list[Line]:
    """By period its fees, then its usage; at the end what is given back."""
    billed = known.billed.get(part.subscription.id, {})
    lines: list[Line] = []
    for entry in part.entries:
        lines += fee_lines(
            part.subscription.id, entry.window, entry.fees, billed=billed, currency=part.currency
        )
        for due in entry.dues:
            lines += usage_lines(
                due,
                usage=_counted(part, due, known.usage),
                billed=billed,
                currency=part.currency,
                watermark=watermark,
            )
    return lines + reversals(billed, _keys(part), known.latest, part.currency)


def _counted(part: _Part, due: Due, usage: Mapping[_Slot, Usage]) -> dict[str, Usage]:
    slots = {charge.metric_key: _slot(part, due, charge.metric_key) for charge in due.charges}
    return {key: usage[slot] for key, slot in slots.items() if slot in usage}

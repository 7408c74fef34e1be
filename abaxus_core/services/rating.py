"""Rating: what each of a chunk of customers would be invoiced at a cutoff, as of a watermark.

Reads everything in sets, so that five hundred customers cost the round trips of one; one customer
is a chunk of one. The rules are domain/true_up.py's; what becomes of a statement (an invoice, a
calculation) is for invoicing.py and calculations.py.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from itertools import islice
from typing import TypeAlias

import msgspec

from abaxus_core.domain.invoices import Line
from abaxus_core.domain.metrics import Metric
from abaxus_core.domain.periods import SNAP, Period
from abaxus_core.domain.statements import check_amounts, effective_cutoff
from abaxus_core.domain.subscriptions import Subscription
from abaxus_core.domain.true_up import (
    Billed,
    ChargeKey,
    Due,
    Usage,
    Window,
    billed_through,
    dues_of,
    lines_of,
    windows_due,
)
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import billing, events, metrics
from abaxus_core.repositories.billing import Account, Mark, Pin, PinnedPlan

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
    subscriptions: Mapping[int, Sequence[Subscription]]
    plans: Mapping[Pin, PinnedPlan]
    metrics: Mapping[str, Metric]
    changed_days: billing.ChangedDays
    open_windows: billing.OpenWindows
    credits: Mapping[int, int]


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription's share of a statement."""

    subscription: Subscription
    plan: PinnedPlan
    windows: Sequence[Window]
    dues: Sequence[Due]


class _Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's statement before its usage is known."""

    account: Account
    cutoff: datetime
    parts: Sequence[_Part]


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """What was used, by slot, and what was billed for it so far."""

    usage: Mapping["_Slot", Usage]
    billed: Mapping[ChargeKey, Billed]


_Slot: TypeAlias = tuple[int, Period, str]


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
    usage = await _usage(conn, book.metrics, parts, watermark)
    known = _Known(usage=usage, billed=billed)
    return [_statement(book, sheet, known, watermark) for sheet in sheets]


async def _read(conn: Connection, customer_nos: Sequence[int], cutoff: datetime) -> _Book:
    accounts = await billing.accounts(conn, customer_nos)
    subscriptions = await billing.subscriptions(conn, customer_nos, started_before=cutoff + SNAP)
    pins = {_pin(one) for of_customer in subscriptions.values() for one in of_customer}
    plans = await billing.plans(conn, pins)
    return _Book(
        accounts=accounts,
        subscriptions=subscriptions,
        plans=plans,
        metrics=await metrics.find(conn, _metric_keys(plans.values())),
        changed_days=await billing.changed_days(conn, customer_nos),
        open_windows=await billing.open_windows(conn, customer_nos),
        credits=await billing.credits_of(conn, customer_nos),
    )


def _pin(subscription: Subscription) -> Pin:
    return Pin(plan_id=subscription.plan_id, version=subscription.plan_version)


def _metric_keys(plans: Iterable[PinnedPlan]) -> set[str]:
    return {charge.metric_key for plan in plans for charge in plan.charges if charge.metric_key}


def _sheet(book: _Book, account: Account, ask: Ask) -> _Sheet:
    # Without a currency it had none; what was subscribed to since is left to the next rating.
    subscriptions = book.subscriptions.get(account.customer_no, ()) if account.currency else ()
    lives = [(one, book.plans[_pin(one)].cadence) for one in subscriptions]
    cutoff = effective_cutoff(ask.cutoff, lives)
    parts = [_part(book, subscription, cutoff, ask.within) for subscription in subscriptions]
    return _Sheet(account=account, cutoff=cutoff, parts=parts)


def _part(
    book: _Book, subscription: Subscription, cutoff: datetime, within: Period | None
) -> _Part:
    plan = book.plans[_pin(subscription)]
    windows = windows_due(
        subscription,
        plan.cadence,
        cutoff=cutoff,
        billed_to=book.open_windows.get(subscription.id, {}),
        changed_days=_changed_days(book, subscription, plan),
    )
    kept = [window for window in windows if within is None or _overlap(window.period, within)]
    charges = {subscription.plan_version: plan.charges}
    dues = [due for window in kept for due in dues_of(subscription, window, charges)]
    return _Part(subscription=subscription, plan=plan, windows=kept, dues=dues)


def _overlap(one: Period, other: Period) -> bool:
    return one.start < other.end and other.start < one.end


def _changed_days(book: _Book, subscription: Subscription, plan: PinnedPlan) -> Collection[date]:
    days: set[date] = set()
    for metric_key in _metric_keys([plan]):
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
                metrics_by_key[metric_key], customer_no, start=stretch.start, end=stretch.end
            )
            for customer_no, stretch, metric_key in batch
        ]
        found = await events.aggregate(conn, windows, watermark)
        for slot, one in zip(batch, found, strict=True):
            usage[slot] = Usage(quantity=one.value, event_count=one.event_count, digest=one.digest)
    return usage


def _slots(parts: Iterable[_Part]) -> list[_Slot]:
    """What to aggregate, each once: customer, stretch of some length, metric."""
    return list(
        dict.fromkeys(
            (part.subscription.customer_no, due.usage_period, charge.metric_key)
            for part in parts
            for due in part.dues
            for charge in due.charges
            if charge.metric_key and due.usage_period.start < due.usage_period.end
        )
    )


def _periods(parts: Iterable[_Part]) -> list[tuple[str, datetime]]:
    return [
        (part.subscription.id, window.period.start) for part in parts for window in part.windows
    ]


def _statement(book: _Book, sheet: _Sheet, known: _Known, watermark: int) -> Statement:
    lines = tuple(line for part in sheet.parts for line in _lines(part, known, watermark))
    check_amounts(lines)
    return Statement(
        account=sheet.account,
        cutoff=sheet.cutoff,
        watermark=watermark,
        lines=lines,
        marks=tuple(_mark(part) for part in sheet.parts if part.windows),
        credit_minor=book.credits.get(sheet.account.customer_no, 0),
    )


def _mark(part: _Part) -> Mark:
    return Mark(
        subscription_id=part.subscription.id,
        billed_through=billed_through(part.subscription, part.windows),
    )


def _lines(part: _Part, known: _Known, watermark: int) -> list[Line]:
    lines: list[Line] = []
    for due in part.dues:
        lines += lines_of(
            due,
            usage=_counted(part.subscription.customer_no, due, known.usage),
            billed=known.billed,
            currency=part.plan.currency,
            watermark=watermark,
        )
    return lines


def _counted(customer_no: int, due: Due, usage: Mapping[_Slot, Usage]) -> dict[str, Usage]:
    metric_keys = {charge.metric_key for charge in due.charges if charge.metric_key}
    found = {key: usage.get((customer_no, due.usage_period, key)) for key in metric_keys}
    return {key: counted for key, counted in found.items() if counted is not None}

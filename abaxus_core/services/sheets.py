"""Sheets: what a chunk of customers may owe for, before their usage is known.

Of each subscription the billing periods to look at, their segments and their fees, by the life that
its amendments leave it with. Reads in sets: five hundred customers cost the round trips of one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from itertools import chain

import msgspec

from abaxus_core.domain.charges import Charge
from abaxus_core.domain.fees import Fee, fees_of
from abaxus_core.domain.lives import Life, life_of
from abaxus_core.domain.metrics import Metric
from abaxus_core.domain.periods import SNAP, Period
from abaxus_core.domain.plans import metric_keys_of
from abaxus_core.domain.statements import effective_cutoff
from abaxus_core.domain.subscriptions import Subscription, Terms
from abaxus_core.domain.true_up import ChargeKey, Due, dues_of, fee_key, key_of
from abaxus_core.domain.windows import Window, windows_due
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.turns import in_turns
from abaxus_core.repositories import billing, metrics
from abaxus_core.repositories.billing import Account, PinnedPlan


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What to rate: usage before `cutoff` that landed at or below `watermark`, or below that of
    the lines it adds to, where theirs is higher.

    `within`: only billing periods that overlap it; None for all that is due.
    """

    cutoff: datetime
    watermark: int
    within: Period | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A window, with what may be owed in it."""

    window: Window
    dues: Sequence[Due]
    fees: Sequence[Fee]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription's share of a sheet."""

    subscription: Subscription
    currency: str
    entries: Sequence[Entry]

    @property
    def keys(self) -> set[ChargeKey]:
        """Everything that something may be owed under."""
        return {
            key_of(due, charge)
            for entry in self.entries
            for due in entry.dues
            for charge in due.charges
        } | {
            fee_key(self.subscription.id, entry.window, fee)
            for entry in self.entries
            for fee in entry.fees
        }


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's statement before its usage is known; `cutoff` is snapped to a period's end."""

    account: Account
    cutoff: datetime
    credit_minor: int
    parts: Sequence[Part]


class Sheets(msgspec.Struct, frozen=True, kw_only=True):
    """Those of a chunk, in order of the customers' numbers, and the metrics that they need."""

    sheets: Sequence[Sheet]
    metrics: Mapping[str, Metric]

    @property
    def parts(self) -> list[Part]:
        return [part for sheet in self.sheets for part in sheet.parts]


class _Book(msgspec.Struct, frozen=True, kw_only=True):
    """Everything read about a chunk."""

    accounts: Sequence[Account]
    lives: Mapping[int, Sequence[tuple[Subscription, Life]]]
    plans: Mapping[Terms, PinnedPlan]
    metrics: Mapping[str, Metric]
    changed_days: billing.ChangedDays
    open_windows: billing.OpenWindows
    credits: Mapping[int, int]


async def read(conn: Connection, customer_nos: Sequence[int], ask: Ask) -> Sheets:
    """Return the sheets of customers. Has to be the first read of a rating."""
    book = await _read(conn, customer_nos, ask.cutoff)
    return Sheets(
        sheets=[_sheet(book, account, ask) async for account in in_turns(book.accounts)],
        metrics=book.metrics,
    )


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


def _sheet(book: _Book, account: Account, ask: Ask) -> Sheet:
    # Without a currency it had none; what was subscribed to since is left to the next rating.
    lives = book.lives.get(account.customer_no, ()) if account.currency else ()
    cutoff = effective_cutoff(
        ask.cutoff, [(life, book.plans[life.stretches[0].terms].cadence) for _, life in lives]
    )
    parts = [_part(book, subscription, life, cutoff, ask.within) for subscription, life in lives]
    return Sheet(
        account=account,
        cutoff=cutoff,
        credit_minor=book.credits.get(account.customer_no, 0),
        parts=parts,
    )


def _part(
    book: _Book, subscription: Subscription, life: Life, cutoff: datetime, within: Period | None
) -> Part:
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
    return Part(
        subscription=subscription,
        currency=plan.currency,
        entries=[
            Entry(
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

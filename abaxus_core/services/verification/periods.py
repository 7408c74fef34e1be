"""Closed billing periods: all that was billed of one is what rating it anew comes to.

Each subscription's life, from its start to `billed_through`, is rated as if nothing had been
billed, at the watermark that it is known to be rated at. What lies beyond is still being billed,
and each line of it proves itself (invoices.py).
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import count, groupby, islice
from typing import Final

import msgspec

from abaxus_core.domain.evidence import period_findings
from abaxus_core.domain.fees import fees_of
from abaxus_core.domain.findings import Finding
from abaxus_core.domain.instants import INSTANT_MAX
from abaxus_core.domain.lives import Life, clip, life_of
from abaxus_core.domain.metrics import Metric
from abaxus_core.domain.periods import Cadence, period
from abaxus_core.domain.plans import metric_keys_of
from abaxus_core.domain.subscriptions import Subscription, Terms
from abaxus_core.domain.true_up import Billed, ChargeKey, dues_of, key_of_line
from abaxus_core.domain.windows import Window
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import billing, metrics
from abaxus_core.repositories.billing import PinnedPlan
from abaxus_core.repositories.verification import Span
from abaxus_core.services.rating import Known, lines_of, slots_of, usage_of
from abaxus_core.services.sheets import Entry, Part

PERIODS_AT_ONCE: Final = 2_000


class _Closed(msgspec.Struct, frozen=True, kw_only=True):
    """One closed billing period of a subscription."""

    subscription: Subscription
    currency: str
    entry: Entry

    @property
    def period(self) -> tuple[str, datetime]:
        return self.subscription.id, self.entry.window.period.start


async def findings(conn: Connection, span: Span) -> AsyncIterator[Finding]:
    """Yield where all lines of a closed period come to something else than one rating of it."""
    found = await billing.subscriptions(conn, list(span.ids), started_before=INSTANT_MAX)
    lives = [(one, life_of(one)) for of_customer in found.values() for one in of_customer]
    plans = await billing.plans(
        conn, {stretch.terms for _, life in lives for stretch in life.stretches}
    )
    known = await metrics.find(
        conn, metric_keys_of(charge for plan in plans.values() for charge in plan.charges)
    )
    periods = (closed for one, life in lives for closed in _closed_of(one, life, plans))
    while batch := list(islice(periods, PERIODS_AT_ONCE)):
        billed = await billing.billed(conn, [closed.period for closed in batch])
        owed = await _owed(conn, batch, billed, known)
        amounts = {key: one.amount_minor for key, one in billed.items()}
        for finding in period_findings(owed, amounts):
            yield finding


def _closed_of(
    subscription: Subscription, life: Life, plans: Mapping[Terms, PinnedPlan]
) -> Iterator[_Closed]:
    plan = plans[life.stretches[0].terms]
    charges = {one.terms: plans[one.terms].charges for one in life.stretches}
    for window in _windows(life, plan.cadence, subscription.billed_through):
        entry = Entry(
            window=window,
            dues=dues_of(subscription.id, life, window, charges),
            fees=fees_of(life, window.whole, charges),
        )
        yield _Closed(subscription=subscription, currency=plan.currency, entry=entry)


def _windows(life: Life, cadence: Cadence, billed_through: datetime | None) -> Iterator[Window]:
    if billed_through is None:
        return
    for number in count():
        whole = period(life.start_at, cadence, number)
        part = clip(whole, life)
        if part.end <= part.start or part.end > billed_through:
            return
        yield Window(period=part, whole=whole, end=part.end, invoiced=True)


async def _owed(
    conn: Connection,
    batch: Sequence[_Closed],
    billed: Mapping[ChargeKey, Billed],
    known: Mapping[str, Metric],
) -> dict[ChargeKey, int]:
    parts = list(_parts(batch, billed))
    slots = (
        slot
        for part, watermark in parts
        for entry in part.entries
        for slot in slots_of(part, entry, watermark)
    )
    from_nothing = Known(usage=await usage_of(conn, slots, known), billed={}, latest={})
    return {
        key_of_line(line): line.amount_minor
        for part, watermark in parts
        for line in lines_of(part, from_nothing, watermark)
    }


def _parts(
    batch: Iterable[_Closed], billed: Mapping[ChargeKey, Billed]
) -> Iterator[tuple[Part, int]]:
    """Periods of one subscription that were rated at one watermark together: that of its last
    rating, or of their own lines where that is higher.
    """
    latest: dict[tuple[str, datetime], int] = {}
    for key, one in billed.items():
        place = key.subscription_id, key.period_start
        latest[place] = max(one.watermark, latest.get(place, 0))

    def rated_at(closed: _Closed) -> tuple[str, int]:
        watermark = max(closed.subscription.rated_watermark, latest.get(closed.period, 0))
        return closed.subscription.id, watermark

    for (_, watermark), group in groupby(batch, key=rated_at):
        members = list(group)
        yield (
            Part(
                subscription=members[0].subscription,
                currency=members[0].currency,
                entries=[closed.entry for closed in members],
            ),
            watermark,
        )

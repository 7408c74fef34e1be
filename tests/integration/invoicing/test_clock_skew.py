"""Clocks that differ by less than a day: whatever lands late is billed by the next invoice, once.

Each machine's clock counts: the one that accepts, the one that lands, the one that invoices.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from abaxus_core.domain.instants import text_of
from abaxus_core.repositories import billing
from abaxus_core.services.landing import Lander
from tests.support.api import error_of
from tests.support.books import CALLS, PER_CALL, Books
from tests.support.clock import FakeClock

START = datetime(2026, 3, 1, tzinfo=UTC)
# So late in a day, and half a day later, clocks that differ show different days.
BEGIN = START + timedelta(days=5, hours=13)
CENTS_PER_CALL = 1
WAIT_MAX = timedelta(minutes=1)
DAILY, WEEKLY = "daily", "weekly"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """`after` the one before, by the true clock; `skew` is how far the machine's is ahead of it.

    An event occurred `ago` before it is sent; an invoice reaches to the midnight as many whole days
    before the machine's last one.
    """

    what: Literal["send", "land", "invoice"]
    after: timedelta
    skew: timedelta
    ago: timedelta


SKEW_MAX = timedelta(hours=11, minutes=59)
A_BIT = timedelta(minutes=15)
HALF_A_DAY = timedelta(hours=12)
A_DAY = timedelta(days=1)

skews = st.sampled_from([-SKEW_MAX, -SKEW_MAX, timedelta(0), SKEW_MAX, SKEW_MAX]) | st.timedeltas(
    -SKEW_MAX, SKEW_MAX
)
pauses = st.sampled_from([timedelta(0), timedelta(0), A_BIT, HALF_A_DAY, A_DAY])
days = st.integers(0, 4).map(lambda count: count * A_DAY)
parts = st.sampled_from([timedelta(0), A_BIT, HALF_A_DAY, A_DAY - A_BIT])
invoiced = st.sampled_from([timedelta(0)] * 3 + [A_DAY, 3 * A_DAY])


@st.composite
def steps(draw: st.DrawFn) -> Step:
    what = draw(st.sampled_from(["send", "send", "land", "invoice"]))
    ago = draw(invoiced) if what == "invoice" else draw(days) + draw(parts)
    return Step(what=what, after=draw(pauses), skew=draw(skews), ago=ago)


# Invoiced by a clock that is far ahead; then yesterday's event lands by one that is far behind.
AHEAD_AND_BEHIND = [
    Step(what="send", after=timedelta(0), skew=timedelta(0), ago=A_DAY),
    Step(what="invoice", after=timedelta(0), skew=SKEW_MAX, ago=timedelta(0)),
    Step(what="send", after=timedelta(0), skew=timedelta(0), ago=A_DAY),
    Step(what="invoice", after=timedelta(0), skew=SKEW_MAX, ago=timedelta(0)),
]


class Account:
    """One customer of the books, and the true time."""

    def __init__(self, books: Books, clock: FakeClock, customer_id: str) -> None:
        self.books = books
        self.clock = clock
        self.customer_id = customer_id
        self.true_now = BEGIN
        self.lander_clock = FakeClock(BEGIN)
        self.lander = Lander(books.context.database, self.lander_clock)
        self.sent: list[tuple[datetime, int]] = []
        self.landed_count = 0
        self.landed_at = BEGIN
        self.billed_until = START
        self.billed_minor = 0

    async def take(self, step: Step) -> None:
        self.true_now += step.after
        if step.what == "send":
            await self.send(step)
        elif step.what == "land":
            await self.land(step.skew)
        else:
            await self.invoice(step.skew, days_ago=step.ago.days)

    async def send(self, step: Step) -> None:
        """An event worth a power of two, so that a sum says which events are in it.

        None may wait to land for a day: the next would be turned away.
        """
        if self.true_now - self.landed_at > WAIT_MAX:
            await self.land(-step.skew)
        self.clock.set(self.true_now + step.skew)
        occurred_at = self.true_now - step.ago
        value = 1 << len(self.sent)
        await self.books.post(
            "/v1/events",
            202,
            customer_id=self.customer_id,
            metric_key="api_calls",
            value=value,
            timestamp=occurred_at.isoformat(),
            idempotency_key=f"event-{len(self.sent)}",
        )
        self.sent.append((occurred_at, value))

    async def land(self, skew: timedelta) -> None:
        self.lander_clock.set(self.true_now + skew)
        while (await self.lander.land()).row_count:
            pass
        self.landed_count = len(self.sent)
        self.landed_at = self.true_now

    async def invoice(self, skew: timedelta, *, days_ago: int = 0) -> None:
        """Invoice up to a midnight, never behind the last; whatever is owed by then is on it, once.

        An invoice waits for the inbox, so another machine lands what is there.
        """
        await self.land(-skew)
        self.clock.set(self.true_now + skew)
        today = self.clock.now.replace(hour=0, minute=0, second=0, microsecond=0)
        self.billed_until = max(self.billed_until, today - timedelta(days=days_ago))
        is_due = await self.is_due()
        response = await self.books.client.post(
            "/v1/invoices",
            json={"customer_id": self.customer_id, "cutoff_date": text_of(self.billed_until)},
        )
        if response.status_code == 201:
            assert is_due, "a run over all customers would have passed it by"
            self.billed_minor += response.json()["total_amount"]
        else:
            assert error_of(response) == (409, "NOTHING_TO_INVOICE", None)

    async def is_due(self) -> bool:
        """Whether a run over all customers would look at this one."""
        async with self.books.context.database.connection() as conn:
            number = await conn.fetchval(
                "SELECT customer_no FROM customers WHERE customer_id = $1", self.customer_id
            )
            due = await billing.due(
                conn, after_customer_no=number - 1, started_before=self.billed_until, limit=1
            )
        return due == [number]

    def owed_minor(self, end: datetime) -> int:
        """What the events that have landed come to, as far as invoices reach and the end allows."""
        return sum(
            value * CENTS_PER_CALL
            for occurred_at, value in self.sent[: self.landed_count]
            if START <= occurred_at < min(self.billed_until, end)
        )


@pytest.fixture
async def shop(books: Books, clock: FakeClock) -> Books:
    """Books with a plan for each cadence."""
    clock.set(START)
    await books.metric(**CALLS)
    for cadence in (DAILY, WEEKLY):
        await books.plan(PER_CALL, plan_id=cadence, billing_period=cadence)
    return books


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    history=st.lists(steps(), min_size=8, max_size=20),
    cadence=st.sampled_from([DAILY, DAILY, WEEKLY]),
    lasting=st.none() | st.integers(3, 9),
)
@example(history=AHEAD_AND_BEHIND, cadence=DAILY, lasting=None)
@example(history=AHEAD_AND_BEHIND, cadence=DAILY, lasting=5)
async def test_what_lands_late_is_on_the_next_invoice_once(
    shop: Books, clock: FakeClock, history: Sequence[Step], cadence: str, lasting: int | None
) -> None:
    shop.sent += 1
    account = Account(shop, clock, f"c{shop.sent}")
    clock.set(BEGIN)
    await shop.customer(account.customer_id)
    end = START + timedelta(days=lasting or 10_000)
    ending = {} if lasting is None else {"end_date": end.date().isoformat()}
    await shop.subscribe(account.customer_id, cadence, START.date().isoformat(), **ending)
    for step in history:
        await account.take(step)
        if step.what == "invoice":
            assert account.billed_minor == account.owed_minor(end)
    await account.invoice(timedelta(0))
    assert account.billed_minor == account.owed_minor(end)

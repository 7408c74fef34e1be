"""A random life on a real database, through the API and the workers' own steps, faults and all.

Whatever broke off is asked for, or done, again, as a caller or worker would.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any, TypeVar

import httpx
import msgspec

from abaxus_core.domain.amendments import Amendment
from abaxus_core.domain.instants import AHEAD_MAX
from abaxus_core.domain.pricing import Charge
from abaxus_core.kernel.database import Database
from abaxus_core.kernel.notifications import CONNECTION_FAULTS
from abaxus_core.services import amendments
from tests.property.life_oracle import (
    COUNTS,
    Event,
    Key,
    Story,
    boundary,
    moved,
    owed,
    taking_effect,
)
from tests.property.lives import HOUR, Amend, Bill, Calculate, When
from tests.property.stored_lives import (
    METRICS,
    ApplyDue,
    CancelPending,
    LandAll,
    Repeat,
    Route,
    StoredPlan,
    Subscribed,
    Turn,
    Use,
)
from tests.support.books import Answer, Books, next_job
from tests.support.clock import FakeClock
from tests.support.metering import fetch, land_all
from tests.support.wire import Fault, Wire

T = TypeVar("T")

ATTEMPTS_MAX = 200
PAUSE_MS = 5
FAR = timedelta(days=40)
COUNTED = {key: COUNTS[one] for group in METRICS for key, one in group.items()}
AMENDMENTS = """
    SELECT amendment_id AS id, subscription_id, type, effective, effective_at, status, plan_id,
        plan_version, prorate, resume_at, end_at, created_at
    FROM amendments
    WHERE subscription_id = $1
    ORDER BY effective_at, amendment_id
"""
BILLED = """
    SELECT period_start, segment_start, charge_id, sum(amount_minor)::bigint
    FROM invoice_lines
    WHERE subscription_id = $1
    GROUP BY period_start, segment_start, charge_id
"""
COLLECTED = """
    SELECT
        coalesce((SELECT sum(total_minor) FROM invoices WHERE customer_no = c.customer_no), 0)
            - coalesce(
                (SELECT sum(amount_minor) FROM customer_credits WHERE customer_no = c.customer_no),
                0
            )
    FROM customers AS c
    WHERE customer_id = $1
"""
NUMBERS = "SELECT count(*), coalesce(max(number), 0), (SELECT value FROM counters) FROM invoices"


@dataclass(frozen=True, slots=True)
class Stage:
    """Where histories are played, one after another; `direct` leads past the wire."""

    books: Books
    wire: Wire
    clock: FakeClock
    direct: Database
    numbers: Iterator[int]


@dataclass(slots=True)
class Held:
    """A subscription, and its story but for the amendments."""

    id: str
    plan_id: str
    story: Story


@dataclass(slots=True)
class Buyer:
    """A customer. `sent` by key with its number of arrival; `queued` of what has not landed."""

    id: str
    held: list[Held]
    furthest: datetime
    sent: list[tuple[str, Event]] = field(default_factory=list)
    queued: list[tuple[str, int, Event]] = field(default_factory=list)
    landed: dict[str, tuple[int, Event]] = field(default_factory=dict)
    calculation: Answer | None = None

    @property
    def events(self) -> list[Event]:
        """What has landed, in order of arrival."""
        return [event for _, event in sorted(self.landed.values(), key=lambda each: each[0])]


class StoredHistory:
    """The customers of one drawn plan, from its beginning to its end."""

    def __init__(self, stage: Stage, plan: StoredPlan) -> None:
        self.stage = stage
        self.plan = plan
        self.name = f"h{next(stage.numbers)}"
        self.buyers: list[Buyer] = []
        self._numbers = count(1)

    @property
    def now(self) -> datetime:
        return self.stage.clock.now

    async def begin(self) -> None:
        self.stage.clock.set(self.plan.start_at - self.plan.lead)
        plans = [await self._made(one, f"{self.name}-{at}") for at, one in self._subscribed()]
        for number in range(self.plan.customers):
            buyer = Buyer(f"{self.name}-c{number}", [], self.now)
            await self.stage.books.customer(buyer.id)
            for plan_id, story in plans:
                end = {} if story.end_at is None else {"end_date": story.end_at.isoformat()}
                subscription_id = await self.stage.books.subscribe(
                    buyer.id, plan_id, story.start_at.isoformat(), plan_version=1, **end
                )
                buyer.held.append(Held(subscription_id, plan_id, story))
            self.buyers.append(buyer)

    def _subscribed(self) -> Iterator[tuple[int, Subscribed]]:
        return iter(enumerate(self.plan.subscriptions))

    async def _made(self, one: Subscribed, plan_id: str) -> tuple[str, Story]:
        charges = {
            version: await self._version(plan_id, one, stated)
            for version, stated in sorted(one.charges.items())
        }
        start_at = self.plan.start_at + one.after
        return plan_id, Story(
            start_at=start_at,
            end_at=None if one.lasts is None else start_at + one.lasts,
            version=1,
            cadence=one.cadence,
            charges=charges,
            counts=COUNTED,
        )

    async def _version(
        self, plan_id: str, one: Subscribed, stated: Sequence[Charge]
    ) -> list[Charge]:
        """The charges under the ids that they were given."""
        made = await self.stage.books.plan(
            *map(_document, stated),
            plan_id=plan_id,
            billing_period=msgspec.to_builtins(one.cadence),
            effective_from="2020-01-01T00:00:00Z",
        )
        return [
            msgspec.structs.replace(charge, id=given["id"])
            for charge, given in zip(stated, made["charges"], strict=True)
        ]

    async def play(self, turn: Turn) -> None:
        self.stage.clock.set(max(self.now, self._at(turn.when)))
        buyer = self.buyers[turn.customer % len(self.buyers)]
        match turn.step:
            case Use() | Repeat():
                await self._send(turn, buyer)
            case LandAll():
                await self._land(turn.fault)
            case ApplyDue():
                await self._work(turn.fault, lambda: amendments.apply_due(self.stage.books.context))
            case Amend():
                await self._amend(turn, turn.step, buyer)
            case CancelPending():
                await self._cancel(turn, buyer)
            case Calculate():
                await self._calculate(turn, turn.step, buyer)
            case Bill():
                await self._bill(turn, turn.step, buyer)

    def _at(self, when: When) -> datetime:
        """Boundaries are those of the first subscription."""
        if when.near == "now":
            return self.now + when.offset
        first = self.plan.subscriptions[0]
        edges = (boundary(self.plan.start_at, first.cadence, number) for number in count())
        return next(edge for edge in edges if edge > self.now) + when.offset

    async def _send(self, turn: Turn, buyer: Buyer) -> None:
        events = self._events(turn.step, buyer)
        if not events:
            return
        route: Route = turn.step.route  # type: ignore[union-attr]
        documents = [_event_document(buyer, key, event) for key, event in events]
        if route == "one":
            for document in documents:
                await self._ask(turn.fault, "/v1/events", document, {202})
        else:
            path = f"/v1/events/{route}"
            status = 200 if route == "backfill" else 207
            answer = await self._ask(turn.fault, path, {"events": documents}, {status})
            assert all(one["error"] is None for one in answer.json()["results"])
        for key, event in events:
            arrived = key, next(self._numbers), event
            if route == "backfill":
                _land(buyer, arrived)
            elif key not in buyer.landed:
                buyer.queued.append(arrived)

    def _events(self, step: object, buyer: Buyer) -> list[tuple[str, Event]]:
        if isinstance(step, Repeat):
            if not buyer.sent:
                return []
            key, event = buyer.sent[step.place % len(buyer.sent)]
            value = event.value + 1 if step.changed else event.value
            return [(key, msgspec.structs.replace(event, value=value))]
        assert isinstance(step, Use)
        events = [
            (
                f"{buyer.id}-{next(self._numbers)}",
                Event(
                    metric_key=one.metric_key,
                    occurred_at=min(self._at(one.when), self.now + AHEAD_MAX),
                    value=one.value,
                    user=one.user,
                ),
            )
            for one in step.events
        ]
        buyer.sent += events
        return events

    async def _land(self, fault: Fault | None = None) -> None:
        await self._work(fault, lambda: land_all(self.stage.books.context))
        for buyer in self.buyers:
            for arrived in buyer.queued:
                _land(buyer, arrived)
            buyer.queued = []

    async def _amend(self, turn: Turn, step: Amend, buyer: Buyer) -> None:
        held = buyer.held[turn.subscription % len(buyer.held)]
        before = len(await self._amendments(held))
        path = f"/v1/subscriptions/{held.id}"
        paused = (await self.stage.books.get(path))["status"] == "paused"
        body = self._amendment(turn, step, held, paused=paused)
        await self._ask(turn.fault, f"{path}/amendments", body, {201, 409, 422}, keyed=turn.keyed)
        if turn.keyed:
            assert len(await self._amendments(held)) <= before + 1

    def _amendment(self, turn: Turn, step: Amend, held: Held, *, paused: bool) -> dict[str, object]:
        at = max(self.now, self._at(step.effective)) if turn.timing == "at" else self.now
        until = None if step.lasts is None else (at + step.lasts).isoformat()
        fields: Mapping[str, dict[str, object]] = {
            "plan_change": {"plan_id": held.plan_id, "plan_version": step.version},
            "pause": {"resume_date": until},
            "end_date_change": {"end_date": until},
        }
        type_ = "resume" if step.type == "pause" and paused else step.type
        return {
            "type": type_,
            "effective": at.isoformat() if turn.timing == "at" else turn.timing,
            "prorate": step.prorate,
            **fields.get(type_, {}),
        }

    async def _cancel(self, turn: Turn, buyer: Buyer) -> None:
        held = buyer.held[turn.subscription % len(buyer.held)]
        pending = [one for one in await self._amendments(held) if one.status == "pending"]
        if pending:
            path = f"/v1/subscriptions/{held.id}/amendments/{pending[0].id}/cancel"
            await self._ask(turn.fault, path, {}, {200, 409}, keyed=turn.keyed)

    async def _calculate(self, turn: Turn, step: Calculate, buyer: Buyer) -> None:
        end = self._at(step.cutoff)
        body = {
            "customer_id": buyer.id,
            "period_start": (end - step.since).isoformat(),
            "period_end": end.isoformat(),
        }
        answer = await self._ask(turn.fault, "/v1/pricing/calculate", body, {200}, keyed=turn.keyed)
        buyer.calculation = answer.json()

    async def _bill(self, turn: Turn, step: Bill, buyer: Buyer) -> None:
        cutoff = min(self._at(step.cutoff), self.now + AHEAD_MAX)
        if step.mode == "bulk":
            await self._bill_all(cutoff, turn.fault, keyed=turn.keyed)
        elif step.mode == "alone":
            await self._bill_one(turn, buyer, cutoff)
        elif buyer.calculation is not None:
            cutoff = datetime.fromisoformat(buyer.calculation["period_end"])
            calculation_id = buyer.calculation["calculation_id"]
            answer = await self._invoice(turn, buyer, cutoff, calculation_id=calculation_id)
            if answer.status_code == 201 or turn.fault:
                buyer.furthest = max(buyer.furthest, cutoff)

    async def _bill_one(self, turn: Turn, buyer: Buyer, cutoff: datetime) -> None:
        answer = await self._invoice(turn, buyer, cutoff)
        if answer.status_code == 201:
            cutoff = datetime.fromisoformat(answer.json()["cutoff"])
        if answer.status_code != 422 and cutoff >= buyer.furthest and not cutoff.microsecond:
            await self._check(buyer, cutoff)
        if answer.status_code == 201 or turn.fault:
            buyer.furthest = max(buyer.furthest, cutoff)

    async def _invoice(
        self, turn: Turn, buyer: Buyer, cutoff: datetime, **fields: object
    ) -> httpx.Response:
        body = {"customer_id": buyer.id, "cutoff_date": cutoff.isoformat(), **fields}
        return await self._ask(turn.fault, "/v1/invoices", body, {201, 409, 422}, keyed=turn.keyed)

    async def _bill_all(
        self, cutoff: datetime, fault: Fault | None = None, *, keyed: bool = False
    ) -> None:
        body = {"cutoff_date": cutoff.isoformat()}
        answer = await self._ask(None, "/v1/invoices/bulk", body, {202}, keyed=keyed)
        while run := await next_job(self.stage.books.context):
            await self._work(fault, run)
        job = await self.stage.books.get(f"/v1/jobs/{answer.json()['id']}")
        assert job["status"] == "completed", job
        assert job["progress"]["done"] == job["progress"]["total"]
        failed = {error["customer_id"] for error in job["result"]["errors"]}
        assert not failed & {buyer.id for buyer in self.buyers}, job
        for buyer in self.buyers:
            if cutoff >= buyer.furthest and not cutoff.microsecond:
                await self._check(buyer, cutoff)
            buyer.furthest = max(buyer.furthest, cutoff)

    async def end(self) -> None:
        """Everything lands and is billed, in the end to the end of each subscription."""
        later = self.now + FAR
        self.stage.clock.set(later.replace(minute=0, second=0, microsecond=0) + HOUR)
        await self._land()
        await amendments.apply_due(self.stage.books.context)
        await self._settle()
        for buyer in self.buyers:
            for held in buyer.held:
                await self.stage.books.client.post(
                    f"/v1/subscriptions/{held.id}/amendments",
                    json={"type": "cancel", "effective": "immediate"},
                )
        await self._settle()
        ((made, highest, counted),) = await fetch(self.stage.direct, NUMBERS)
        assert made == highest == counted

    async def _settle(self) -> None:
        """Bill all; then there is nothing more to bill, and what took effect had to."""
        await self._bill_all(self.now)
        for buyer in self.buyers:
            refusal = await self.stage.books.invoice_refused(
                self.now.isoformat(), customer_id=buyer.id
            )
            assert refusal == (409, "NOTHING_TO_INVOICE", None)
            for held in buyer.held:
                story, known = await self._story(held), await self._amendments(held)
                applied = [one.id for one in known if one.status == "applied"]
                assert [one.id for one in story.amendments] == applied

    async def _check(self, buyer: Buyer, cutoff: datetime) -> None:
        """All lines ever issued to the customer are one rating of all its events."""
        total_minor = 0
        for held in buyer.held:
            billed = await self._billed(held)
            rated = owed(await self._story(held), buyer.events, cutoff)
            assert moved(billed) == moved({key: one.minor for key, one in rated.items()})
            total_minor += sum(billed.values())
        ((collected,),) = await fetch(self.stage.direct, COLLECTED, buyer.id)
        assert collected == total_minor

    async def _billed(self, held: Held) -> dict[Key, int]:
        rows: list[Any] = await fetch(self.stage.direct, BILLED, held.id)
        return {(period, segment, charge): minor for period, segment, charge, minor in rows}

    async def _story(self, held: Held) -> Story:
        known = await self._amendments(held)
        asked = [one for one in known if one.status != "cancelled" and one.effective_at <= self.now]
        return taking_effect(held.story, asked)

    async def _amendments(self, held: Held) -> list[Amendment]:
        async with self.stage.direct.connection() as conn:
            rows = await conn.fetch(AMENDMENTS, held.id)
        return [Amendment(**dict(row)) for row in rows]

    async def _ask(
        self,
        fault: Fault | None,
        path: str,
        body: Mapping[str, object],
        statuses: set[int],
        *,
        keyed: bool = False,
    ) -> httpx.Response:
        """The answer, asked for again while there is none or the first request still runs."""
        key = {"idempotency_key": f"{self.name}-{next(self._numbers)}"} if keyed else {}
        for _ in range(ATTEMPTS_MAX):
            answer = await self._struck(
                fault, lambda: self.stage.books.client.post(path, json={**body, **key})
            )
            if answer is not None and not _is_to_be_asked_again(answer):
                assert answer.status_code in statuses, answer.text
                return answer
            fault = None
            await asyncio.sleep(PAUSE_MS / 1000)
        raise AssertionError(f"{path} was never answered")

    async def _work(self, fault: Fault | None, step: Callable[[], Awaitable[object]]) -> None:
        """A worker's step, done again where it broke off."""
        for _ in range(ATTEMPTS_MAX):
            with suppress(*CONNECTION_FAULTS):
                if await self._struck(fault, lambda: _done(step)):
                    return
            fault = None
            await asyncio.sleep(PAUSE_MS / 1000)
        raise AssertionError("a worker's step was never done")

    async def _struck(self, fault: Fault | None, step: Callable[[], Awaitable[T]]) -> T | None:
        """What the step answers; None where it was cancelled."""
        task = asyncio.ensure_future(step())
        with self.stage.wire.faulty(fault, task.cancel), suppress(asyncio.CancelledError):
            return await task
        return None


def _land(buyer: Buyer, arrived: tuple[str, int, Event]) -> None:
    key, number, event = arrived
    buyer.landed.setdefault(key, (number, event))


async def _done(step: Callable[[], Awaitable[object]]) -> bool:
    await step()
    return True


def _is_to_be_asked_again(answer: httpx.Response) -> bool:
    if answer.status_code == 503:
        return True
    return answer.status_code == 409 and answer.json()["error"]["code"] == "REQUEST_IN_PROGRESS"


def _document(charge: Charge) -> dict[str, object]:
    """The charge as the API takes it."""
    document: dict[str, object] = msgspec.to_builtins(charge)
    return {name: value for name, value in document.items() if name != "id" and value is not None}


def _event_document(buyer: Buyer, key: str, event: Event) -> dict[str, object]:
    return {
        "customer_id": buyer.id,
        "metric_key": event.metric_key,
        "value": str(event.value),
        "timestamp": event.occurred_at.isoformat(),
        "idempotency_key": key,
        "properties": {"user": event.user},
    }

"""A random life on a real database, through the API and the workers' own steps, faults and all."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count

import httpx
import msgspec

from abaxus_core.domain.instants import AHEAD_MAX
from abaxus_core.services import amendments
from tests.property.life_oracle import Event, boundary
from tests.property.lives import HOUR, Amend, Bill, Calculate, When
from tests.property.stage import Stage
from tests.property.stored_buyers import Buyer, Held, event_document, make_buyers
from tests.property.stored_ledger import StoredLedger
from tests.property.stored_lives import (
    ApplyDue,
    CancelPending,
    LandAll,
    Repeat,
    Route,
    StoredPlan,
    Turn,
    Use,
    Used,
)
from tests.support.books import next_job
from tests.support.metering import land_all
from tests.support.persistence import Persistent
from tests.support.verified import findings_of
from tests.support.waiting import eventually
from tests.support.wire import Fault

FAR = timedelta(days=40)
PEACE = Turn(when=When(near="now", offset=timedelta()), step=LandAll())


class StoredHistory:
    """The customers of one drawn plan, from its beginning to its end.

    `alone`: turn by turn, so what each did is known; else several are under way at once.
    """

    def __init__(self, stage: Stage, plan: StoredPlan, *, alone: bool = True) -> None:
        self.plan = plan
        self._alone = alone
        self.name = f"h{next(stage.numbers)}"
        self.buyers: list[Buyer] = []
        self._clock = stage.clock
        self._books = stage.books
        self._direct = stage.direct
        self._ledger = StoredLedger(stage.direct)
        self._persistent = Persistent(stage.books.client, stage.wire)
        self._numbers = count(1)

    @property
    def now(self) -> datetime:
        return self._clock.now

    async def begin(self) -> None:
        self._clock.set(self.plan.start_at - self.plan.lead)
        self.buyers = await make_buyers(self._books, self.plan, self.name, self.now)

    async def play(self, turn: Turn) -> None:
        self._clock.set(max(self.now, self._at(turn.when)))
        await self._take(turn)

    async def play_at_once(self, turns: Sequence[Turn]) -> None:
        """At the instant of the first; usage comes and lands in one order, beside all else."""
        self._clock.set(max(self.now, self._at(turns[0].when)))
        usage = [turn for turn in turns if isinstance(turn.step, Use | Repeat | LandAll)]
        others = [turn for turn in turns if turn not in usage]
        await asyncio.gather(self._take_in_turn(usage), *map(self._take, others))

    async def _take_in_turn(self, turns: Sequence[Turn]) -> None:
        for turn in turns:
            await self._take(turn)

    async def _take(self, turn: Turn) -> None:
        buyer = self.buyers[turn.customer % len(self.buyers)]
        match turn.step:
            case Use() | Repeat():
                await self._send(turn.fault, turn.step, buyer)
            case LandAll():
                await self._land(turn.fault)
            case ApplyDue():
                await self._persistent.work(
                    turn.fault, lambda: amendments.apply_due(self._books.context)
                )
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

    async def _send(self, fault: Fault | None, step: Use | Repeat, buyer: Buyer) -> None:
        arriving = [(key, next(self._numbers), event) for key, event in self._events(step, buyer)]
        documents = [event_document(buyer, key, event) for key, _, event in arriving]
        if step.route == "one":
            for document in documents:
                await self._persistent.ask(fault, "/v1/events", document, {202})
        elif documents:
            await self._send_together(fault, step.route, documents)
        for arrived in arriving:
            if step.route == "backfill":
                buyer.land(arrived)
            else:
                buyer.queued.append(arrived)

    async def _send_together(
        self, fault: Fault | None, route: Route, documents: Sequence[Mapping[str, object]]
    ) -> None:
        path, body = f"/v1/events/{route}", {"events": documents}
        answer = await self._persistent.ask(fault, path, body, {200, 207})
        assert all(one["error"] is None for one in answer.json()["results"])

    def _events(self, step: Use | Repeat, buyer: Buyer) -> list[tuple[str, Event]]:
        if isinstance(step, Use):
            fresh = [(f"{buyer.id}-{next(self._numbers)}", self._event(one)) for one in step.events]
            buyer.sent += fresh
            return fresh
        if not buyer.sent:
            return []
        key, event = buyer.sent[step.place % len(buyer.sent)]
        value = event.value + 1 if step.changed else event.value
        return [(key, msgspec.structs.replace(event, value=value))]

    def _event(self, used: Used) -> Event:
        return Event(
            metric_key=used.metric_key,
            occurred_at=min(self._at(used.when), self.now + AHEAD_MAX),
            value=used.value,
            user=used.user,
        )

    async def _land(self, fault: Fault | None = None) -> None:
        await self._persistent.work(fault, lambda: land_all(self._books.context))
        for buyer in self.buyers:
            buyer.land_queued()

    async def _amend(self, turn: Turn, step: Amend, buyer: Buyer) -> None:
        held = buyer.held[turn.subscription % len(buyer.held)]
        before = len(await self._ledger.amendments(held))
        path = f"/v1/subscriptions/{held.id}"
        paused = (await self._books.get(path))["status"] == "paused"
        body = self._amendment(turn, step, held, paused=paused)
        answer = await self._ask(turn, f"{path}/amendments", body, 201, 409, 422)
        if turn.keyed and self._alone:
            made = len(await self._ledger.amendments(held)) - before
            assert made == (answer.status_code == 201)

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
        pending = [one for one in await self._ledger.amendments(held) if one.status == "pending"]
        if pending:
            path = f"/v1/subscriptions/{held.id}/amendments/{pending[0].id}/cancel"
            await self._ask(turn, path, {}, 200, 409)

    async def _calculate(self, turn: Turn, step: Calculate, buyer: Buyer) -> None:
        end = self._at(step.cutoff)
        body = {
            "customer_id": buyer.id,
            "period_start": (end - step.since).isoformat(),
            "period_end": end.isoformat(),
        }
        answer = await self._ask(turn, "/v1/pricing/calculate", body, 200)
        buyer.calculation = answer.json()

    async def _bill(self, turn: Turn, step: Bill, buyer: Buyer) -> None:
        cutoff = min(self._at(step.cutoff), self.now + AHEAD_MAX)
        if step.mode == "bulk":
            await self._bill_all(turn, cutoff)
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
        if answer.status_code != 422:
            await self._check(buyer, cutoff)
        if answer.status_code == 201 or turn.fault:
            buyer.furthest = max(buyer.furthest, cutoff)

    async def _invoice(
        self, turn: Turn, buyer: Buyer, cutoff: datetime, **fields: object
    ) -> httpx.Response:
        body = {"customer_id": buyer.id, "cutoff_date": cutoff.isoformat(), **fields}
        before = await self._ledger.invoices(buyer)
        answer = await self._ask(turn, "/v1/invoices", body, 201, 409, 422)
        if turn.keyed and self._alone:
            made = await self._ledger.invoices(buyer) - before
            assert made == (answer.status_code == 201)
        return answer

    async def _bill_all(self, turn: Turn, cutoff: datetime) -> None:
        body = {"cutoff_date": cutoff.isoformat()}
        answer = await self._ask(turn, "/v1/invoices/bulk", body, 202)
        while run := await next_job(self._books.context):
            await self._persistent.work(turn.fault, run)
        job_id = answer.json()["id"]
        await eventually(self._is_completed, job_id)
        job = await self._books.get(f"/v1/jobs/{job_id}")
        assert job["progress"]["done"] == job["progress"]["total"]
        failed = {error["customer_id"] for error in job["result"]["errors"]}
        assert not failed & {buyer.id for buyer in self.buyers}, job
        for buyer in self.buyers:
            await self._check(buyer, cutoff)
            buyer.furthest = max(buyer.furthest, cutoff)

    async def _is_completed(self, job_id: str) -> bool:
        return bool((await self._books.get(f"/v1/jobs/{job_id}"))["status"] == "completed")

    async def _check(self, buyer: Buyer, cutoff: datetime) -> None:
        """Where it is known what was billed: nothing to later cutoffs, or to one that was snapped
        to the end of a period.
        """
        if self._alone and cutoff >= buyer.furthest and not cutoff.microsecond:
            await self._ledger.check(buyer, cutoff, self.now)

    async def end(self) -> None:
        """Everything lands and is billed, in the end to the end of each subscription."""
        self._alone = True
        later = self.now + FAR
        self._clock.set(later.replace(minute=0, second=0, microsecond=0) + HOUR)
        await self._land()
        await amendments.apply_due(self._books.context)
        await self._settle()
        for buyer in self.buyers:
            for held in buyer.held:
                await self._books.client.post(
                    f"/v1/subscriptions/{held.id}/amendments",
                    json={"type": "cancel", "effective": "immediate"},
                )
        await self._settle()
        await self._ledger.check_numbers()

    async def _settle(self) -> None:
        """Bill all; then there is nothing more to bill, and what took effect had to."""
        await self._bill_all(PEACE, self.now)
        for buyer in self.buyers:
            refusal = await self._books.invoice_refused(self.now.isoformat(), customer_id=buyer.id)
            assert refusal == (409, "NOTHING_TO_INVOICE", None)
            for held in buyer.held:
                await self._ledger.check_applied(held, self.now)
        assert await findings_of(self._direct, [buyer.id for buyer in self.buyers]) == []

    async def _ask(
        self,
        turn: Turn,
        path: str,
        body: Mapping[str, object],
        *statuses: int,
    ) -> httpx.Response:
        """What is asked for in a turn, under a key where it says so."""
        key = {"idempotency_key": f"{self.name}-{next(self._numbers)}"} if turn.keyed else {}
        return await self._persistent.ask(turn.fault, path, {**body, **key}, statuses)

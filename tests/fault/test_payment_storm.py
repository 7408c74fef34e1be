"""API and worker processes killed at random while they charge through a provider that breaks at
random: every invoice is paid in the end, and each was charged once.

ABAXUS_TEST_CHARGES says how many; `make soak` asks for more.
"""

import asyncio
import os
import random
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import pytest

from abaxus_core.domain.payments import FINAL
from tests.support.collection import invoice_of, payments_of
from tests.support.fleet import Member, fleet
from tests.support.payment_scene import FAKES, Scene, scene
from tests.support.provider_fake import Fault
from tests.support.waiting import eventually

CHARGES: Final = int(os.environ.get("ABAXUS_TEST_CHARGES", "200"))
SEED: Final = 20_260_510
CALLERS: Final = 8
ASKED_MAX: Final = 100
PAUSE_MAX_MS: Final = 200
# An attempt that failed for the fourth time waits for ten minutes: SPEED makes seconds of it.
SPEED: Final = 240
LOOKED_AFTER_MAX_S: Final = 120
REQUESTS_PER_FAULT: Final = 3
# More would have attempts wait for hours and days, as they must when a provider is down.
SENDS_SPOILED_MAX: Final = 4
LATEST: Final = "SELECT max(next_check_at) FROM payments WHERE settled_at IS NULL"
LONG: Final = timedelta(minutes=30)
WORST: Final = "SELECT max(sends) FROM payments WHERE settled_at IS NULL"
# A kill for so many charges, at least.
CHARGES_PER_KILL: Final = 4
FAULTS: Final[tuple[Fault, ...]] = (
    "drop",
    "rate_limited",
    "bad_credentials",
    "key_in_use",
    "unavailable",
    "lose",
    "lose",
    "hang",
    "half",
    "garbage",
    "redirect",
)


@dataclass(slots=True)
class Storm:
    """`answers`: what callers were told, by status; 0 where nobody answered."""

    it: Scene
    dice: random.Random
    waiting: deque[str] = field(default_factory=deque)
    members: list[Member] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    faults: int = 0
    paid: int = 0

    async def begin(self) -> None:
        self.members = [await self.it.api(), await self.it.api()]
        self.members += [await self.it.worker(), await self.it.worker()]

    async def call(self) -> None:
        """Charge invoices, one after the other, until each is paid, however often it takes."""
        while self.waiting:
            await self.killed_enough()
            if not self.waiting:
                return
            invoice_id = self.waiting.popleft()
            for _ in range(ASKED_MAX):
                api = self.members[self.dice.randrange(2)]
                answer = await self.it.charge(api, invoice_id)
                self.answers[answer.status_code if answer is not None else 0] += 1
                await self.looked_after(invoice_id)
                if await self.is_paid(invoice_id):
                    self.paid += 1
                    break
            else:
                raise AssertionError(f"{invoice_id} is not paid: {await self.it.last(invoice_id)}")

    async def killed_enough(self) -> None:
        """Wait for the kills that what is paid asks for, however fast the machine pays."""
        async with asyncio.timeout(LOOKED_AFTER_MAX_S):
            while self.paid >= (self.killed.total() + 1) * CHARGES_PER_KILL:
                await self.pause()

    async def is_paid(self, invoice_id: str) -> bool:
        return (await invoice_of(self.it.context, invoice_id)).status == "paid"

    async def looked_after(self, invoice_id: str) -> None:
        """Wait until workers can do no more for the invoice: it is paid, or to be charged anew."""
        async with asyncio.timeout(LOOKED_AFTER_MAX_S):
            while True:
                await self.pause()
                attempts = await payments_of(self.it.context, invoice_id)
                if not attempts or attempts[-1].state in {"transient", *FINAL}:
                    return

    async def rage(self, callers: "asyncio.Future[object]") -> None:
        """While somebody calls, and no attempt has had its share of bad luck: a fault now and then,
        and a kill for some charges."""
        while not callers.done():
            await self.pause()
            await self.skip_the_waiting()
            if await self.sends_at_most() >= SENDS_SPOILED_MAX:
                continue
            if len(self.it.fake.heard) >= self.faults * REQUESTS_PER_FAULT:
                self.it.fake.faults.append(self.dice.choice(FAULTS))
                self.faults += 1
            if self.killed.total() * CHARGES_PER_KILL > self.paid:
                continue
            place = self.dice.randrange(len(self.members))
            await self.kill(self.members[place])
            self.members[place] = await self.it.again(self.members[place])

    async def kill(self, member: Member) -> None:
        await self.it.up.kill(member)
        self.killed[member.kind] += 1

    async def skip_the_waiting(self) -> None:
        """Have the hours go by that an unlucky attempt waits for: for the fake, and for processes
        that all start anew, so that no two of them are hours apart.
        """
        async with self.it.context.database.connection() as conn:
            latest = await conn.fetchval(LATEST)
        if latest is None or latest - self.it.clock() < LONG:
            return
        for member in self.members:
            await self.kill(member)
        self.it.wait(latest - self.it.clock())
        self.members = [await self.it.again(member) for member in self.members]

    async def sends_at_most(self) -> int:
        """How often the attempt was sent that has had the worst luck of those under way."""
        async with self.it.context.database.connection() as conn:
            return int(await conn.fetchval(WORST) or 0)

    async def pause(self) -> None:
        await asyncio.sleep(self.dice.uniform(0, PAUSE_MAX_MS) / 1000)


@pytest.mark.parametrize("name", FAKES)
async def test_killed_at_random_each_invoice_is_charged_once(durable_databases, name):
    async with (
        fleet(durable_databases.dsn) as up,
        scene(up, durable_databases, name, speed=SPEED) as it,
    ):
        invoices = [await it.invoice() for _ in range(CHARGES // len(FAKES))]
        storm = Storm(it, random.Random(SEED), deque(invoices))
        await storm.begin()
        callers = asyncio.gather(*(storm.call() for _ in range(CALLERS)))
        await storm.rage(callers)
        await callers
        await eventually(nothing_is_under_way, it)

        for invoice_id in invoices:
            await it.check_charged_once(invoice_id)
        assert len(it.fake.charges) == len(invoices)
        print(f"{name}: {storm.killed} {storm.answers} of {len(it.fake.heard)} requests")
        assert storm.killed.total() >= (len(invoices) - CALLERS) // CHARGES_PER_KILL
        assert min(storm.killed["api"], storm.killed["worker"]) > 0
        assert storm.answers[0] > 0, "nobody was killed while answering"
        assert len(it.fake.heard) > len(invoices), "nothing was ever repeated"


async def nothing_is_under_way(it: Scene) -> bool:
    async with it.context.database.connection() as conn:
        live = await conn.fetchval("SELECT count(*) FROM payments WHERE settled_at IS NULL")
    return bool(live == 0)

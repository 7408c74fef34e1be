"""Random histories of one feature, each step held against a few lines of arithmetic."""

import random
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from abaxus_core.domain.decimals import plain
from tests.support.clock import FakeClock
from tests.support.shop import PATH, Shop, event

LIMIT = 1000
STEPS = 120
PERIOD_END = datetime.fromisoformat("2026-06-01T00:00:00Z")
STEP_KINDS = (
    "reserve",
    "reserve",
    "reserve",
    "commit",
    "commit",
    "record",
    "release",
    "use",
    "wait",
)


class Held(msgspec.Struct):
    reservation_id: str
    quantity: Decimal
    expires_at: datetime


class Model(msgspec.Struct):
    """What should be: usage by month, what is committed without an event in it, what is held."""

    clock: FakeClock
    used: dict[int, Decimal] = {}
    committed: dict[int, Decimal] = {}
    held: list[Held] = []

    @property
    def month(self) -> int:
        return self.clock.now.month

    def living(self) -> list[Held]:
        return [each for each in self.held if each.expires_at > self.clock.now]

    def available(self) -> Decimal:
        taken = sum((each.quantity for each in self.living()), Decimal(0))
        taken += self.used.get(self.month, Decimal(0)) + self.committed.get(self.month, Decimal(0))
        return max(Decimal(0), LIMIT - taken)

    def add(self, to: dict[int, Decimal], quantity: Decimal) -> None:
        to[self.month] = to.get(self.month, Decimal(0)) + quantity


@pytest.mark.parametrize("seed", range(4))
async def test_a_history_of_one_feature(shop: Shop, clock: FakeClock, seed: int) -> None:
    chance = random.Random(seed)
    await shop.grant(LIMIT)
    clock.set(PERIOD_END - timedelta(minutes=10))
    model = Model(clock=clock)
    for step in range(STEPS):
        await take(shop, model, chance, chance.choice(STEP_KINDS), f"{seed}-{step}")
        assert Decimal(await shop.available()) == model.available(), (seed, step)
    assert model.month == 6, "it has seen a period end"


async def take(shop: Shop, model: Model, chance: random.Random, kind: str, key: str) -> None:
    if kind == "reserve":
        await reserve(shop, model, chance)
    elif kind == "use":
        value = Decimal(chance.randint(1, 40))
        await shop.books.use(plain(value), model.clock.now.isoformat(), metric_key="tokens")
        model.add(model.used, value)
    elif kind == "wait":
        model.clock.advance(timedelta(seconds=chance.choice((5, 60, 300))))
    elif model.held:
        await settle(shop, model, chance, kind, key)


async def reserve(shop: Shop, model: Model, chance: random.Random) -> None:
    quantity = Decimal(chance.randint(1, 200_000)) / 1000
    seconds = chance.choice((1, 60, 3600))
    answer = await shop.reserve(plain(quantity), expires_in=seconds)
    assert answer["granted"] == (quantity <= model.available())
    if answer["granted"]:
        expires_at = model.clock.now + timedelta(seconds=seconds)
        model.held.append(Held(answer["id"], quantity, expires_at))


async def settle(shop: Shop, model: Model, chance: random.Random, kind: str, key: str) -> None:
    one = model.held.pop(chance.randrange(len(model.held)))
    expired = one.expires_at <= model.clock.now
    quantity = one.quantity if chance.random() < 0.5 else one.quantity / 4
    body: dict[str, object] = {} if kind == "release" else {"quantity": plain(quantity)}
    if kind == "record":
        body["event"] = event(plain(quantity), key, timestamp=model.clock.now.isoformat())
    verb = "release" if kind == "release" else "commit"
    response = await shop.client.post(f"{PATH}/{one.reservation_id}/{verb}", json=body)
    if kind == "release":
        assert response.json()["status"] == ("expired" if expired else "released")
    elif expired:
        assert response.json()["error"]["code"] == "RESERVATION_EXPIRED"
    else:
        assert response.json()["committed_quantity"] == plain(quantity)
        model.add(model.used if kind == "record" else model.committed, quantity)

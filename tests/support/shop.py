"""A customer with limits, and what it asks of them: checks, reservations, usage that lands."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Database
from tests.support.books import Books, keeping
from tests.support.metering import fetch
from tests.support.postgres import TestDatabases

PATH = "/v1/entitlements/reservations"
NOW = "2026-05-10T12:00:00Z"
METRICS: tuple[Mapping[str, object], ...] = (
    {"key": "tokens", "aggregation": "sum"},
    {"key": "calls", "aggregation": "count"},
    {"key": "seats", "aggregation": "sum", "value_type": "integer"},
    {"key": "peak", "aggregation": "max"},
)

Answer = dict[str, Any]

# What the tallies say, and what the reservations do.
OUT_OF_STEP = """
    SELECT t.feature_key FROM reservation_tallies AS t
    WHERE t.held IS DISTINCT FROM (
        SELECT coalesce(sum(r.quantity), 0) FROM reservations AS r
        WHERE r.customer_no = t.customer_no AND r.feature_key = t.feature_key
            AND r.status = 'held'
    )
"""


class Shop:
    """What tests of reservations say, as requests."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.client = books.client
        self.context = books.context

    async def grant(
        self,
        limit: object,
        *,
        plan_id: str = "a",
        metric_key: str = "tokens",
        feature_key: str = "tokens",
        start: str = "2026-05-01",
        **fields: object,
    ) -> str:
        """A plan with a limit, and acme's subscription to it: its id."""
        entitlement = {
            "feature_key": feature_key,
            "type": "limit",
            "limit": limit,
            "metric_key": metric_key,
        }
        await self.plan(plan_id, entitlement, **fields)
        return await self.books.subscribe(plan_id=plan_id, start=start)

    async def plan(
        self, plan_id: str, *entitlements: Mapping[str, object], **fields: object
    ) -> None:
        fee = {"pricing_model": "flat_fee", "metric_key": None, "amount": "1.00"}
        await self.books.plan(fee, plan_id=plan_id, entitlements=entitlements, **fields)

    async def asked(self, quantity: object, feature_key: str = "tokens", **fields: object) -> Any:
        """The raw answer to a reservation."""
        body = {
            "customer_id": "acme",
            "feature_key": feature_key,
            "quantity": quantity,
            **fields,
        }
        return await self.client.post(PATH, json=body)

    async def reserve(self, quantity: object, feature_key: str = "tokens", **fields: object) -> Any:
        """The answer to a reservation, granted or not."""
        response = await self.asked(quantity, feature_key, **fields)
        assert response.status_code in (200, 201), response.text
        answer: Answer = response.json()
        assert answer["granted"] == (response.status_code == 201)
        return answer

    async def held(self, quantity: object, feature_key: str = "tokens", **fields: object) -> str:
        """The id of a reservation that is granted."""
        answer = await self.reserve(quantity, feature_key, **fields)
        assert answer["granted"], answer
        return str(answer["id"])

    async def commit(
        self, reservation_id: str, quantity: object, *, status: int = 200, **fields: object
    ) -> Answer:
        return await self.books.post(
            f"{PATH}/{reservation_id}/commit", status, quantity=quantity, **fields
        )

    async def release(self, reservation_id: str, *, status: int = 200) -> Answer:
        return await self.books.post(f"{PATH}/{reservation_id}/release", status)

    async def read(self, reservation_id: str) -> Answer:
        return await self.books.get(f"{PATH}/{reservation_id}")

    async def check(self, feature_key: str = "tokens") -> Answer:
        return await self.books.get(
            "/v1/entitlements/check", customer_id="acme", feature_key=feature_key
        )

    async def available(self, feature_key: str = "tokens") -> str:
        """What could be reserved: what is said to who asks for too much."""
        answer = await self.reserve("1" + "0" * 27, feature_key)
        assert not answer["granted"]
        return str(answer["available"])


def event(value: object, key: str = "e1", **fields: object) -> Answer:
    """An event of acme's tokens, now."""
    return {
        "customer_id": "acme",
        "metric_key": "tokens",
        "value": value,
        "timestamp": NOW,
        "idempotency_key": key,
        **fields,
    }


async def out_of_step(database: Database) -> list[tuple[object, ...]]:
    """Features whose tally is not what their reservations add up to."""
    return await fetch(database, OUT_OF_STEP)


@asynccontextmanager
async def shop_of(databases: TestDatabases, clock: Clock) -> AsyncIterator[Shop]:
    """With METRICS and the customer acme."""
    async with keeping(databases, clock) as books:
        for metric in METRICS:
            await books.metric(**metric)
        await books.customer()
        yield Shop(books)

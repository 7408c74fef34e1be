"""A small business over the real API: a plan, customers, usage that lands, invoices."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from abaxus_core.http import app
from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.queue import Job
from abaxus_core.kernel.queue_worker import QueueWorker
from abaxus_core.plugin.email import EmailSender
from abaxus_core.services.ingestion import BATCH_MAX
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.services.work import Context
from abaxus_core.worker import bulk
from tests.support.api import FakeMonotonic, bearer, error_of, new_key
from tests.support.collection import make_context
from tests.support.jobs import FAULTY
from tests.support.metering import land_all
from tests.support.postgres import TestDatabases
from tests.support.servers import client_of

CALLS: Mapping[str, object] = {"key": "api_calls", "aggregation": "sum"}
BASE_FEE: Mapping[str, object] = {
    "pricing_model": "flat_fee",
    "metric_key": None,
    "description": "Base fee",
    "amount": "49.00",
}
GROWTH_CALLS: Mapping[str, object] = {
    "pricing_model": "tiered",
    "metric_key": "api_calls",
    "description": "API calls",
    "tiers": [
        {"up_to": 100_000, "unit_price": 0},
        {"up_to": 1_000_000, "unit_price": "0.0001"},
        {"up_to": None, "unit_price": "0.00005"},
    ],
}
GROWTH: Sequence[Mapping[str, object]] = (BASE_FEE, GROWTH_CALLS)
PER_CALL: Mapping[str, object] = {
    "pricing_model": "per_unit",
    "metric_key": "api_calls",
    "unit_price": "0.01",
}

CROWD = """
    WITH crowd AS (
        INSERT INTO customers (customer_id, currency, metadata, created_at)
        SELECT 'c' || number, 'usd', '{}', '2026-04-01T00:00:00Z'
        FROM generate_series(0, $1::integer - 1) AS number
        RETURNING customer_no, customer_id
    )
    INSERT INTO subscriptions (
        subscription_id, customer_no, plan_id, plan_version, start_at, created_at
    )
    SELECT 'sub_' || customer_id, customer_no, 'growth', 1, '2026-04-01T00:00:00Z',
        '2026-04-01T00:00:00Z'
    FROM crowd
"""

Answer = dict[str, Any]


@dataclass
class Books:
    """What tests of invoicing say, as requests. Every method answers the decoded body."""

    client: httpx.AsyncClient
    context: Context
    test_context: Context
    sent: int = field(default=0)

    async def post(self, path: str, status: int = 201, **body: object) -> Answer:
        response = await self.client.post(path, json=body)
        assert response.status_code == status, response.text
        answer: Answer = response.json()
        return answer

    async def get(self, path: str, **query: str | int) -> Answer:
        response = await self.client.get(path, params=query)
        assert response.status_code == 200, response.text
        answer: Answer = response.json()
        return answer

    async def refused(self, path: str, **body: object) -> tuple[int, str, str | None]:
        """Status, code and field of the error that a POST meets."""
        return error_of(await self.client.post(path, json=body))

    async def metric(self, **fields: object) -> None:
        await self.post("/v1/metrics", **fields)

    async def plan(
        self, *charges: Mapping[str, object], plan_id: str = "growth", **fields: object
    ) -> Answer:
        given = {"name": plan_id, "currency": "usd", "billing_period": "monthly", **fields}
        return await self.post("/v1/price-plans", id=plan_id, charges=charges, **given)

    async def customer(self, customer_id: str = "acme", **fields: object) -> None:
        await self.post("/v1/customers", id=customer_id, **fields)

    async def subscribe(
        self,
        customer_id: str = "acme",
        plan_id: str = "growth",
        start: str = "2026-04-01",
        **fields: object,
    ) -> str:
        made = await self.post(
            "/v1/subscriptions",
            customer_id=customer_id,
            plan_id=plan_id,
            start_date=start,
            **fields,
        )
        return str(made["id"])

    async def use(
        self,
        value: object,
        timestamp: str = "2026-04-10T12:00:00Z",
        *,
        customer_id: str = "acme",
        metric_key: str = "api_calls",
        **fields: object,
    ) -> None:
        """Send an event and let it land."""
        self.sent += 1
        event = {
            "customer_id": customer_id,
            "metric_key": metric_key,
            "value": value,
            "timestamp": timestamp,
            "idempotency_key": f"event-{self.sent}",
            **fields,
        }
        await self.post("/v1/events", 202, **event)
        await land_all(self.context)

    async def invoice(
        self, cutoff: str = "2026-04-30", *, customer_id: str = "acme", **fields: object
    ) -> Answer:
        return await self.post(
            "/v1/invoices", customer_id=customer_id, cutoff_date=cutoff, **fields
        )

    async def invoice_refused(
        self, cutoff: str = "2026-04-30", *, customer_id: str = "acme", **fields: object
    ) -> tuple[int, str, str | None]:
        return await self.refused(
            "/v1/invoices", customer_id=customer_id, cutoff_date=cutoff, **fields
        )

    async def bulk(self, cutoff: str = "2026-04-30", **options: object) -> str:
        """The id of a run that is queued."""
        job = await self.post("/v1/invoices/bulk", 202, cutoff_date=cutoff, **options)
        return str(job["id"])

    async def run_bulk(self, cutoff: str = "2026-04-30", **options: object) -> Answer:
        """The job of a run, after its jobs have been run one after another."""
        job_id = await self.bulk(cutoff, **options)
        await run_jobs(self.context)
        return await self.get(f"/v1/jobs/{job_id}")


@asynccontextmanager
async def keeping(
    databases: TestDatabases, clock: Clock, *, sender: EmailSender | None = None
) -> AsyncIterator[Books]:
    """Books in live mode; the sandbox charges, `sender` mails."""
    contexts = {
        mode: make_context(databases.open.of(mode), clock, sender=sender)
        for mode in ("live", "test")
    }
    asgi = app.build(contexts, contexts["live"].settings, Telemetry(), monotonic_ns=FakeMonotonic())
    key = await new_key(contexts["live"], "admin")
    async with client_of(asgi, bearer(key)) as client:
        yield Books(client, contexts["live"], contexts["test"])


@asynccontextmanager
async def working_on(context: Context) -> AsyncIterator[None]:
    """A worker that runs what invoicing enqueues, quick to take over from one that died."""
    worker = QueueWorker(context.database, bulk.handlers(context), settings=FAULTY)
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def run_jobs(context: Context) -> None:
    """Run what is queued for invoicing, in order, as a worker does, until nothing is left."""
    while run := await next_job(context):
        await run()


async def next_job(context: Context) -> Callable[[], Awaitable[None]] | None:
    """Take the oldest job of invoicing off the queue; return what runs it, however often."""
    handlers = {handler.kind.name: handler for handler in bulk.handlers(context)}
    row = await _take(context, list(handlers))
    if row is None:
        return None
    handler = handlers[row["kind"]]
    payload = msgspec.json.decode(row["payload"], type=handler.kind.payload)
    job: Job[Any] = Job(job_id=row["job_id"], attempt=1, attempts_max=20, payload=payload)
    return lambda: handler.run(job)


async def _take(context: Context, kinds: Sequence[str]) -> Any:
    async with context.database.connection() as conn:
        return await conn.fetchrow(
            "DELETE FROM jobs WHERE job_id = "
            "(SELECT min(job_id) FROM jobs WHERE kind = ANY ($1)) RETURNING *",
            kinds,
        )


async def make_growth(books: Books) -> None:
    """The golden plan and one customer on it from April on."""
    await books.metric(**CALLS)
    await books.plan(*GROWTH)
    await books.customer()
    await books.subscribe()


async def make_crowd(books: Books, count: int, *, quantity: int = 1_374_923) -> None:
    """The golden plan and customers c0, c1, … on it, each with one event of `quantity` in April."""
    await books.metric(**CALLS)
    await books.plan(*GROWTH)
    async with books.context.database.connection() as conn:
        await conn.execute(CROWD, count)
    for start in range(0, count, BATCH_MAX):
        events = [
            {
                "customer_id": f"c{number}",
                "metric_key": "api_calls",
                "value": quantity,
                "timestamp": "2026-04-10T00:00:00Z",
                "idempotency_key": "april",
            }
            for number in range(start, min(start + BATCH_MAX, count))
        ]
        batch = await books.post("/v1/events/batch", 207, events=events)
        assert batch["accepted"] == len(events)
    await land_all(books.context)


async def make_unlucky(books: Books, *customer_ids: str) -> None:
    """Customers whose April is more than can be invoiced."""
    await books.metric(key="bytes", aggregation="sum")
    dear = {"pricing_model": "per_unit", "metric_key": "bytes", "unit_price": "1000000"}
    await books.plan(dear, plan_id="dear")
    for customer_id in customer_ids:
        await books.customer(customer_id)
        await books.subscribe(customer_id, "dear")
        await books.use("9" * 28, customer_id=customer_id, metric_key="bytes")


def amounts(invoice: Answer) -> list[tuple[str, int]]:
    """Kind and amount of each line."""
    return [(line["kind"], line["amount"]) for line in invoice["line_items"]]

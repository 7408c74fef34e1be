"""Every change that matters is in the audit log, once, by its name."""

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from abaxus_core.errors import AbaxusError
from abaxus_core.kernel.database import Database
from abaxus_core.plugin.payments import Outcome
from abaxus_core.services import amendments, bulk_runs, charging
from tests.support.books import CALLS, GROWTH, PER_CALL, Books, keeping, make_growth
from tests.support.clock import FakeClock
from tests.support.collection import (
    ACTOR,
    Remembering,
    actions_of,
    make_context,
    make_invoice,
    payments_of,
)
from tests.support.metering import fetch
from tests.support.postgres import TestDatabases


@pytest.fixture
async def books(databases: TestDatabases, clock: FakeClock) -> AsyncIterator[Books]:
    async with keeping(databases, clock) as books:
        yield books


async def recorded(database: Database, object_type: str) -> list[str]:
    """What was done to objects of a type, in order."""
    rows = await fetch(
        database,
        "SELECT action FROM audit_log WHERE object_type = $1 ORDER BY audit_no",
        object_type,
    )
    return [str(action) for (action,) in rows]


async def test_the_catalogue(books: Books) -> None:
    await books.metric(**CALLS)
    changed = await books.client.patch("/v1/metrics/api_calls", json={"name": "API calls"})
    assert changed.status_code == 200
    await books.post("/v1/metrics/api_calls/deactivate", 200)
    await books.post("/v1/metrics/api_calls/deactivate", 200)
    await books.post("/v1/metrics/api_calls/activate", 200)
    await books.plan(*GROWTH)
    await books.plan(PER_CALL)
    await books.post("/v1/price-plans/growth/versions/1/deprecate", 200)
    await books.post("/v1/price-plans/growth/versions/1/deprecate", 200)
    database = books.context.database
    assert await recorded(database, "metric") == [
        "metric.created",
        "metric.updated",
        "metric.deactivated",
        "metric.activated",
    ]
    assert await recorded(database, "price_plan") == [
        "price_plan.version_created",
        "price_plan.version_created",
        "price_plan.version_deprecated",
    ]


async def test_customers_and_subscriptions_with_their_amendments(
    books: Books, clock: FakeClock
) -> None:
    await make_growth(books)
    await books.client.patch("/v1/customers/acme", json={"email": "pay@acme.example"})
    (subscription,) = (await books.get("/v1/subscriptions"))["data"]
    path = f"/v1/subscriptions/{subscription['id']}/amendments"
    pause = await books.post(path, type="pause", effective="2026-06-01")
    await books.post(f"{path}/{pause['id']}/cancel", 200)
    await books.post(path, type="pause", effective="2026-06-02")
    await books.post(path, type="cancel", effective="immediate")
    clock.set(datetime(2026, 6, 3, tzinfo=UTC))
    await amendments.apply_due(books.context)
    database = books.context.database
    assert await recorded(database, "customer") == ["customer.created", "customer.updated"]
    assert await recorded(database, "subscription") == [
        "subscription.created",
        "amendment.created",
        "amendment.cancelled",
        "amendment.created",
        "amendment.created",
        "amendment.applied",
        "amendment.failed",
    ]


async def test_keys(books: Books) -> None:
    made = await books.post("/v1/api-keys", name="n", scopes=["read"])
    await books.post(f"/v1/api-keys/{made['id']}/rotate", 200)
    for _ in range(2):
        revoked = await books.client.delete(f"/v1/api-keys/{made['id']}")
        assert revoked.is_success
    assert await recorded(books.context.database, "api_key") == [
        "api_key.created",
        "api_key.created",
        "api_key.rotated",
        "api_key.revoked",
    ]


async def test_bulk_runs(books: Books) -> None:
    await make_growth(books)
    await books.run_bulk()
    await books.post(f"/v1/jobs/{await books.bulk()}/cancel", 200)
    await books.bulk()
    await fetch(books.context.database, "UPDATE jobs SET state = 'discarded', finished_at = now()")
    await bulk_runs.fail_abandoned(books.context)
    assert await recorded(books.context.database, "bulk_run") == [
        "bulk_run.started",
        "bulk_run.completed",
        "bulk_run.started",
        "bulk_run.cancelled",
        "bulk_run.started",
        "bulk_run.failed",
    ]
    assert await recorded(books.context.database, "invoice") == ["invoice.issued"]


@pytest.mark.parametrize(
    ("method", "actions"),
    [
        ("pm_ok", ["invoice.paid"]),
        ("pm_declined", ["payment.declined"]),
        ("pm_pending", ["payment.pending", "invoice.paid"]),
        ("pm_requires_action", ["payment.requires_action"]),
        ("pm_timeout", ["payment.unknown", "invoice.paid"]),
        ("pm_lost", ["payment.unknown", "payment.not_charged"]),
        ("pm_down", ["payment.transient", "payment.not_charged"]),
    ],
)
async def test_every_state_of_a_payment(
    live: Database, clock: FakeClock, method: str, actions: list[str]
) -> None:
    """A success is the invoice's: `invoice.paid` names the payment."""
    context = make_context(live, clock)
    invoice_id = await make_invoice(live, clock.now, method=method)
    with suppress(AbaxusError):
        await charging.charge(context, ACTOR, invoice_id)
    for payment in await payments_of(context, invoice_id):
        clock.set(max(clock.now, payment.next_check_at or clock.now))
        await charging.resolve(context, payment.id)
    assert await actions_of(context, invoice_id) == ["payment.created", *actions]


async def test_a_rejected_payment(live: Database, clock: FakeClock) -> None:
    class Rejecting(Remembering):
        def outcome(self, asked: object) -> Outcome:
            return Outcome(status="rejected", code="bad_key", provider_code="401")

    context = make_context(live, clock, providers={"sandbox": Rejecting()})
    invoice_id = await make_invoice(live, clock.now)
    with suppress(AbaxusError):
        await charging.charge(context, ACTOR, invoice_id)
    assert await actions_of(context, invoice_id) == ["payment.created", "payment.rejected"]

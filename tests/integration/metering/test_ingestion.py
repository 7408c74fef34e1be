"""Accepting: what is refused, what is queued, what is known already."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import msgspec
import pytest

from abaxus_core.domain.digest import event_digest, event_id
from abaxus_core.errors import InvalidInput, RateLimited
from abaxus_core.services import metrics
from abaxus_core.services.ingestion import BACKLOG_RETRY_AFTER_S, Accepted
from abaxus_core.services.work import SYSTEM, Context, perform
from tests.support.clock import FakeClock
from tests.support.metering import context_of, event, fetch, land_all, offer


async def test_valid_events_of_a_request_become_one_row(context: Context) -> None:
    assert await offer(context, event("a"), event("b", value=Decimal("2.5"))) == [False, False]
    ((count, events),) = await fetch(
        context.database, "SELECT event_count, events FROM event_inbox"
    )
    assert count == 2
    assert [queued[4:6] for queued in msgspec.json.decode(events)] == [["1", "a"], ["2.5", "b"]]


async def test_the_event_id_follows_from_customer_and_key(context: Context) -> None:
    expected = event_id(event_digest("acme", "a"))
    for _ in range(2):
        (result,) = await context.intake.accept([event("a")])
        assert isinstance(result, Accepted)
        assert result.event_id == expected
        await land_all(context)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"customer_id": "nobody"}, "CUSTOMER_NOT_FOUND"),
        ({"metric_key": "nothing"}, "METRIC_NOT_FOUND"),
        ({"metric_key": "gone"}, "METRIC_INACTIVE"),
        ({"subscription_id": "sub_none"}, "SUBSCRIPTION_NOT_FOUND"),
        ({"metric_key": "whole", "value": Decimal("1.5")}, "VALIDATION_FAILED"),
        ({"value": Decimal(10) ** 28}, "VALIDATION_FAILED"),
        ({"value": Decimal("0.00000000001")}, "VALIDATION_FAILED"),
        ({"metric_key": "users"}, "VALIDATION_FAILED"),
        ({"metric_key": "users", "properties": {"user": None}}, "VALIDATION_FAILED"),
        ({"properties": {f"p{n}": n for n in range(65)}}, "VALIDATION_FAILED"),
        ({"properties": {"p": "x" * 16_385}}, "VALIDATION_FAILED"),
        ({"timestamp": datetime(2026, 5, 11, 12, 0, 1, tzinfo=UTC)}, "TIMESTAMP_IN_FUTURE"),
        ({"timestamp": datetime(1899, 12, 31, tzinfo=UTC)}, "VALIDATION_FAILED"),
    ],
)
async def test_a_bad_event_is_refused_alone(
    context: Context, fields: dict[str, object], code: str
) -> None:
    assert await offer(context, event("good"), event("bad", **fields)) == [False, code]
    await land_all(context)
    assert await fetch(context.database, "SELECT idempotency_key FROM events") == [("good",)]


async def test_an_item_that_did_not_decode_stays_where_it_was(context: Context) -> None:
    undecodable = InvalidInput("is not a number", field="value")
    results = await context.intake.accept([event("a"), undecodable, event("b")])
    assert results[1] is undecodable
    assert await fetch(context.database, "SELECT event_count FROM event_inbox") == [(2,)]


async def test_the_limits_themselves_are_accepted(context: Context, clock: FakeClock) -> None:
    largest = Decimal("9" * 28 + "." + "9" * 10)
    plus_two = timezone(timedelta(hours=2))
    offers = (
        event("a", value=largest),
        event("b", value=largest.copy_negate()),
        event("c", timestamp=clock() + timedelta(hours=24)),
        event("d" * 255, timestamp=datetime(1900, 1, 1, 2, tzinfo=plus_two)),
        event("e", metric_key="users", properties={"user": False}),
        event("f", properties={f"p{n}": Decimal("0.5") for n in range(64)}),
    )
    assert await offer(context, *offers) == [False] * len(offers)
    assert [landed.stored_count for landed in await land_all(context)] == [len(offers)]


async def test_a_known_event_is_a_duplicate_and_writes_nothing(context: Context) -> None:
    assert await offer(context, event("a")) == [False]
    await land_all(context)
    respelt = event("a", value=Decimal("1.00"), timestamp=event().timestamp.astimezone(UTC))
    assert await offer(context, respelt) == [True]
    assert await fetch(context.database, "SELECT 1 FROM event_inbox") == []
    assert await fetch(context.database, "SELECT 1 FROM event_conflicts") == []


async def test_a_replay_is_answered_though_its_metric_was_deactivated(context: Context) -> None:
    used = event("a", metric_key="calls")
    (first,) = await context.intake.accept([used])
    await land_all(context)
    await perform(context, SYSTEM, lambda work: metrics.deactivate(work, "calls"))
    (again,) = await context.intake.accept([used])
    assert isinstance(first, Accepted)
    assert again == msgspec.structs.replace(first, duplicate=True)
    assert await offer(context, event("new", metric_key="calls")) == ["METRIC_INACTIVE"]


async def test_a_key_twice_in_a_request_is_queued_once(context: Context) -> None:
    assert await offer(context, event("a"), event("a"), event("b")) == [False, True, False]
    assert await fetch(context.database, "SELECT event_count FROM event_inbox") == [(2,)]


async def test_the_same_key_of_another_customer_is_another_event(context: Context) -> None:
    assert await offer(context, event("a"), event("a", customer_id="beta")) == [False, False]


@pytest.mark.parametrize("landed_before", [True, False])
async def test_the_first_payload_wins_and_the_second_is_recorded(
    context: Context, landed_before: bool
) -> None:
    first, second = event("a"), event("a", value=Decimal(7))
    await offer(context, first)
    if landed_before:
        await land_all(context)
    await offer(context, second)
    await offer(context, second)
    await land_all(context)
    assert await fetch(context.database, "SELECT value FROM events") == [(Decimal(1),)]
    ((recorded,),) = await fetch(context.database, "SELECT event FROM event_conflicts")
    assert msgspec.json.decode(str(recorded))["value"] == "7"


async def test_a_full_backlog_refuses_before_it_writes(context: Context, clock: FakeClock) -> None:
    full = context_of(context.database, clock, INGEST_BACKLOG_MAX="2")
    assert await offer(full, event("a")) == [False]
    assert await offer(full, event("b")) == [False]
    with pytest.raises(RateLimited) as refused:
        await offer(full, event("c"))
    assert (refused.value.code, refused.value.retry_after_s) == (
        "BACKLOG_FULL",
        BACKLOG_RETRY_AFTER_S,
    )
    await land_all(full)
    assert await offer(full, event("c")) == [False]


async def test_a_request_of_bad_items_alone_queues_nothing(context: Context) -> None:
    assert await offer(context, event(customer_id="nobody")) == ["CUSTOMER_NOT_FOUND"]
    assert await fetch(context.database, "SELECT 1 FROM event_inbox") == []

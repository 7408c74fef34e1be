"""Accepting usage events: checked one by one, durable before the answer, each once for ever.

The valid events of a request become one row of the inbox, in one commit; landing.py takes it from
there. What is known already is answered as a duplicate and not written again.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias
from uuid import UUID

import msgspec

from abaxus_core.domain.decimals import plain
from abaxus_core.domain.digest import event_id, event_key, payload_hash
from abaxus_core.domain.events import Event, check_active, check_event
from abaxus_core.domain.metrics import Metric
from abaxus_core.errors import AbaxusError, InvalidInput, NotFound, RateLimited
from abaxus_core.kernel.database import Connection, wake_after_commit
from abaxus_core.repositories import events, inbox, metrics
from abaxus_core.repositories.events import Conflict
from abaxus_core.repositories.inbox import QueuedEvent
from abaxus_core.services.work import SYSTEM, Context, Work, perform

TOPIC: Final = "inbox"
BATCH_MAX: Final = 1_000
BACKLOG_RETRY_AFTER_S: Final = 5

_Key: TypeAlias = tuple[int, UUID]

_json = msgspec.json.Encoder(decimal_format="number")


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """`duplicate`: known already, from before or from earlier in the request."""

    event_id: str
    idempotency_key: str
    duplicate: bool


Offer: TypeAlias = Event | AbaxusError
Result: TypeAlias = Accepted | AbaxusError


@dataclass(frozen=True, slots=True)
class _Known:
    """What of the catalogue a request's events name, and exists."""

    customers: Mapping[str, int]
    metrics: Mapping[str, Metric]
    subscriptions: Mapping[str, int]


async def accept(context: Context, offers: Sequence[Offer]) -> Sequence[Result]:
    """Queue the events that are valid and new; return one result per item, in order.

    An item that is an error already stays one; at most BATCH_MAX items. Durable on return. Raises
    RateLimited BACKLOG_FULL, and writes nothing, while INGEST_BACKLOG_MAX rows wait to land.
    """
    assert len(offers) <= BATCH_MAX, "the route bounds a batch"

    async def step(work: Work) -> Sequence[Result]:
        await _refuse_when_full(work.conn, context.settings.ingest_backlog_max)
        known = await _look_up(work.conn, [offer for offer in offers if isinstance(offer, Event)])
        checked = [_checked(offer, known, work.now) for offer in offers]
        return await _queue(work, checked, known)

    results = await perform(context, SYSTEM, step)
    for outcome, count in Counter(map(outcome_of, results)).items():
        context.telemetry.events_seen(context.mode, outcome, count)
    return results


def outcome_of(result: Result) -> Literal["accepted", "duplicate", "rejected"]:
    """The word that answers and telemetry count a result by."""
    if isinstance(result, AbaxusError):
        return "rejected"
    return "duplicate" if result.duplicate else "accepted"


async def _refuse_when_full(conn: Connection, backlog_max: int) -> None:
    if await inbox.span(conn) >= backlog_max:
        raise RateLimited(
            "too many accepted events wait to be processed; come back shortly",
            retry_after_s=BACKLOG_RETRY_AFTER_S,
            code="BACKLOG_FULL",
        )


async def _look_up(conn: Connection, offered: Sequence[Event]) -> _Known:
    named = {event.subscription_id for event in offered if event.subscription_id is not None}
    return _Known(
        customers=await inbox.known_customers(conn, {event.customer_id for event in offered}),
        metrics=await metrics.find(conn, {event.metric_key for event in offered}),
        subscriptions=await inbox.known_subscriptions(conn, named) if named else {},
    )


def _checked(offer: Offer, known: _Known, now: datetime) -> QueuedEvent | AbaxusError:
    if isinstance(offer, AbaxusError):
        return offer
    try:
        return _queued(offer, known, now)
    except AbaxusError as error:
        return error


def _queued(event: Event, known: _Known, now: datetime) -> QueuedEvent:
    customer_no = known.customers.get(event.customer_id)
    if customer_no is None:
        raise _missing("customer", event.customer_id, field="customer_id")
    metric = known.metrics.get(event.metric_key)
    if metric is None:
        raise _missing("metric", event.metric_key, field="metric_key")
    _check_subscription(event.subscription_id, customer_no, known)
    check_event(event, metric, now)
    return QueuedEvent(
        customer_no=customer_no,
        metric_no=metric.metric_no,
        event_key=event_key(event.customer_id, event.idempotency_key),
        payload_hash=payload_hash(event),
        occurred_at=event.timestamp,
        value=plain(event.value),
        idempotency_key=event.idempotency_key,
        subscription_id=event.subscription_id,
        properties=_json.encode(event.properties).decode() if event.properties else None,
    )


def _check_subscription(subscription_id: str | None, customer_no: int, known: _Known) -> None:
    if subscription_id is None:
        return
    owner_no = known.subscriptions.get(subscription_id)
    if owner_no is None:
        raise _missing("subscription", subscription_id, field="subscription_id")
    if owner_no != customer_no:
        raise InvalidInput("belongs to another customer", field="subscription_id")


def _missing(what: str, name: str, *, field: str) -> NotFound:
    return NotFound(f"there is no {what} {name}", code=f"{what.upper()}_NOT_FOUND", field=field)


async def _queue(
    work: Work, checked: Sequence[QueuedEvent | AbaxusError], known: _Known
) -> Sequence[Result]:
    """Write what is new as one row, and payloads that came second as conflicts.

    Only what is new asks whether its metric is active: a replay is answered as the first was.
    """
    inactive = _inactive(known.metrics.values())
    keys = {_key(event): None for event in checked if isinstance(event, QueuedEvent)}
    first_hashes = await events.known(work.conn, list(keys)) if keys else {}
    fresh: list[QueuedEvent] = []
    second: list[Conflict] = []
    results: list[Result] = []
    for event in checked:
        if isinstance(event, AbaxusError):
            results.append(event)
            continue
        duplicate = _key(event) in first_hashes
        if not duplicate and event.metric_no in inactive:
            results.append(inactive[event.metric_no])
            continue
        results.append(_accepted(event, duplicate=duplicate))
        if not duplicate:
            first_hashes[_key(event)] = event.payload_hash
            fresh.append(event)
        elif first_hashes[_key(event)] != event.payload_hash:
            second.append(Conflict(event=event, received_at=work.now))
    await _write(work, fresh, second)
    return results


def _inactive(named: Iterable[Metric]) -> dict[int, AbaxusError]:
    """The refusal of each metric that takes no new events, by number."""
    refusals: dict[int, AbaxusError] = {}
    for metric in named:
        try:
            check_active(metric)
        except AbaxusError as refusal:
            refusals[metric.metric_no] = refusal
    return refusals


async def _write(work: Work, fresh: Sequence[QueuedEvent], second: Sequence[Conflict]) -> None:
    if second:
        await events.record_conflicts(work.conn, second)
    if fresh:
        await inbox.append(work.conn, fresh, work.now)
        wake_after_commit(TOPIC)


def _key(event: QueuedEvent) -> _Key:
    return event.customer_no, event.event_key


def _accepted(event: QueuedEvent, *, duplicate: bool) -> Accepted:
    return Accepted(
        event_id=event_id(event.event_key),
        idempotency_key=event.idempotency_key,
        duplicate=duplicate,
    )

"""Usage events: sent one by one or in batches, and listed."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from abaxus_core.domain.events import Event
from abaxus_core.domain.instants import INSTANT_MAX, INSTANT_MIN, parse_day_or_instant, start_of
from abaxus_core.errors import AbaxusError, InvalidInput
from abaxus_core.http import cloudevents, codec
from abaxus_core.http.answers import Answer, answer
from abaxus_core.http.codec import CallerId, IdempotencyKey, Item
from abaxus_core.http.endpoint import Call, Endpoint, Form
from abaxus_core.http.errors import storable
from abaxus_core.http.event_documents import EventPage, event_page, read_position
from abaxus_core.http.paging import Paged
from abaxus_core.http.quick_events import read_batch, read_event
from abaxus_core.kernel.database import Connection
from abaxus_core.services import usage
from abaxus_core.services.ingestion import BATCH_MAX, Accepted, Offer, Result, outcome_of


class NewEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One usage event. `idempotency_key` is unique per customer, for ever."""

    customer_id: CallerId
    metric_key: Annotated[str, msgspec.Meta(min_length=1)]
    value: Decimal
    timestamp: datetime
    idempotency_key: IdempotencyKey
    properties: dict[str, Any] | None = None
    subscription_id: str | None = None


class NewBatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """1 to 1,000 events, each of the form of a single one."""

    events: Annotated[list[Item], msgspec.Meta(min_length=1)]


class EventAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """`event_id` follows from customer and key alone, so that any replay answers the same."""

    event_id: str
    status: Literal["queued"] = "queued"
    idempotency_key: str
    duplicate: bool


class ItemError(msgspec.Struct, frozen=True, kw_only=True):
    """Why an item was rejected; `field` is a path within the item."""

    code: str
    message: str
    field: str | None


class ItemResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What became of the item at `index`; a rejected one carries `error` and no id."""

    index: int
    status: Literal["queued", "stored", "rejected"]
    event_id: str | None
    idempotency_key: str | None
    duplicate: bool
    error: ItemError | None


class BatchAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """Every item is in exactly one of the three counts; `results` come in the order sent."""

    accepted: int
    duplicates: int
    rejected: int
    results: list[ItemResult]


class EventQuery(Paged, frozen=True, kw_only=True):
    """Timestamps or days (their midnight UTC); `from` is included, `to` is not."""

    customer_id: CallerId
    metric_key: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None


async def send(call: Call[NewEvent | Event, None]) -> Answer:
    """Accept one event; durable when answered."""
    body = call.body
    event = body if isinstance(body, Event) else event_of(body)
    result = await call.context.intake.accept_one(event)
    if isinstance(result, AbaxusError):
        raise result
    return answer(202, _accepted(result))


async def send_batch(call: Call[NewBatch | Sequence[Event], None]) -> Answer:
    """Accept what is valid of a batch; one bad item never fails the others."""
    items, offers = _items(call.body)
    results = await call.context.intake.accept(offers)
    return answer(207, batch_accepted(items, results, "queued"))


async def send_cloud_event(call: Call[Event, None]) -> Answer:
    """Accept one event that came as a CloudEvent; a refusal names its attribute."""
    result = await call.context.intake.accept_one(call.body)
    if isinstance(result, AbaxusError):
        raise cloudevents.renamed(result)
    return answer(202, _accepted(result))


async def send_cloud_batch(call: Call[cloudevents.Batch, None]) -> Answer:
    """Accept what is valid of a batch of CloudEvents."""
    results = [
        cloudevents.renamed(result) if isinstance(result, AbaxusError) else result
        for result in await call.context.intake.accept(call.body.offers)
    ]
    return answer(207, batch_accepted(call.body.trees, results, "queued", key_name="id"))


async def backfill(call: Call[NewBatch | Sequence[Event], None]) -> Answer:
    """Store what is valid of a batch; in every total when answered."""
    items, offers = _items(call.body)
    results = await call.context.backfill.store(offers)
    return answer(200, batch_accepted(items, results, "stored"))


async def list_events(call: Call[None, EventQuery]) -> Answer:
    """A customer's events, newest first."""
    query = call.query
    period = usage.check_period(
        start_of(parse_day_or_instant(query.from_, "from")) if query.from_ else INSTANT_MIN,
        start_of(parse_day_or_instant(query.to, "to")) if query.to else INSTANT_MAX,
        field="to",
    )
    before = read_position(query.cursor)

    async def step(conn: Connection) -> EventPage:
        rows = await usage.list_events(
            conn,
            query.customer_id,
            metric_key=query.metric_key,
            period=period,
            before=before,
            rows_max=query.limit + 1,
        )
        return event_page(query.customer_id, rows, query.limit)

    return await call.read(step)


def _items(body: NewBatch | Sequence[Event]) -> tuple[Sequence[object], Sequence[Offer]]:
    """The items as they came, and what of them can be offered. Raises BATCH_TOO_LARGE."""
    items = body if isinstance(body, Sequence) else body.events
    if len(items) > BATCH_MAX:
        raise InvalidInput(
            f"must hold at most {BATCH_MAX} events", code="BATCH_TOO_LARGE", field="events"
        )
    return items, items if isinstance(body, Sequence) else [_offer(item) for item in items]


def _offer(item: object) -> Offer:
    try:
        return event_of(codec.typed(NewEvent, item))
    except InvalidInput as error:
        return error


def event_of(body: NewEvent) -> Event:
    """The event that a body describes."""
    return Event(
        customer_id=body.customer_id,
        metric_key=body.metric_key,
        value=body.value,
        timestamp=body.timestamp,
        idempotency_key=body.idempotency_key,
        properties=body.properties,
        subscription_id=body.subscription_id,
    )


def _accepted(result: Accepted) -> EventAccepted:
    return EventAccepted(
        event_id=result.event_id,
        idempotency_key=result.idempotency_key,
        duplicate=result.duplicate,
    )


def batch_accepted(
    items: Sequence[object],
    results: Sequence[Result],
    status: Literal["queued", "stored"],
    *,
    key_name: str = "idempotency_key",
) -> BatchAccepted:
    """Return the answer to a batch; `key_name` is where an item that was rejected has its key."""
    counts = Counter(map(outcome_of, results))
    return BatchAccepted(
        accepted=counts["accepted"],
        duplicates=counts["duplicate"],
        rejected=counts["rejected"],
        results=[
            _rejected(index, _key_of(items[index], key_name), result)
            if isinstance(result, AbaxusError)
            else _taken(index, result, status)
            for index, result in enumerate(results)
        ],
    )


def _taken(index: int, accepted: Accepted, status: Literal["queued", "stored"]) -> ItemResult:
    return ItemResult(
        index=index,
        status=status,
        event_id=accepted.event_id,
        idempotency_key=accepted.idempotency_key,
        duplicate=accepted.duplicate,
        error=None,
    )


def _rejected(index: int, key: str | None, error: AbaxusError) -> ItemResult:
    return ItemResult(
        index=index,
        status="rejected",
        event_id=None,
        idempotency_key=key,
        duplicate=False,
        error=ItemError(
            code=error.code,
            message=storable(error.message),
            field=None if error.field is None else storable(error.field),
        ),
    )


def _key_of(item: object, name: str) -> str | None:
    """The key of an item that may be anything, as far as it can be repeated to the caller."""
    if isinstance(item, Event):
        return item.idempotency_key
    key = item.get(name) if isinstance(item, dict) else None
    return storable(key) if isinstance(key, str) else None


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/events",
        handler=send,
        scope="ingest",
        summary="Send a usage event",
        tag="Events",
        body=NewEvent,
        quick=read_event,
        forms={
            cloudevents.EVENT_TYPE: Form(
                body=cloudevents.CloudEvent,
                read=cloudevents.read_event,
                handler=send_cloud_event,
            ),
            cloudevents.BATCH_TYPE: Form(
                body=cloudevents.CloudEvents,
                read=cloudevents.read_batch,
                handler=send_cloud_batch,
            ),
        },
        answers={202: EventAccepted, 207: BatchAccepted},
        errors=(
            "CUSTOMER_NOT_FOUND",
            "METRIC_NOT_FOUND",
            "SUBSCRIPTION_NOT_FOUND",
            "METRIC_INACTIVE",
            "TIMESTAMP_IN_FUTURE",
            "BATCH_TOO_LARGE",
            "BACKLOG_FULL",
        ),
        keeps_answers=False,
    ),
    Endpoint(
        method="POST",
        path="/v1/events/batch",
        handler=send_batch,
        scope="ingest",
        summary="Send up to 1,000 usage events",
        tag="Events",
        body=NewBatch,
        quick=read_batch,
        answers={207: BatchAccepted},
        errors=("BATCH_TOO_LARGE", "BACKLOG_FULL"),
        keeps_answers=False,
    ),
    Endpoint(
        method="POST",
        path="/v1/events/backfill",
        handler=backfill,
        scope="ingest",
        summary="Store up to 1,000 usage events at once, past the queue",
        tag="Events",
        body=NewBatch,
        quick=read_batch,
        answers={200: BatchAccepted},
        errors=("BATCH_TOO_LARGE",),
        keeps_answers=False,
    ),
    Endpoint(
        method="GET",
        path="/v1/events",
        handler=list_events,
        scope="read",
        summary="List a customer's usage events",
        tag="Events",
        query=EventQuery,
        answers={200: EventPage},
        errors=("CUSTOMER_NOT_FOUND", "METRIC_NOT_FOUND"),
    ),
)

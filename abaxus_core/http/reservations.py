"""Reservations over HTTP: room under a limit held, then committed or released."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal, TypeAlias

import msgspec

from abaxus_core.domain import reservations as domain
from abaxus_core.domain.instants import check_instant
from abaxus_core.domain.reservations import ReservationStatus, status_at
from abaxus_core.http import codec
from abaxus_core.http.answers import Answer
from abaxus_core.http.auth import check_covered
from abaxus_core.http.endpoint import Call, Endpoint
from abaxus_core.http.events import NewEvent, event_of
from abaxus_core.http.paging import Page, Paged, page, read_cursor
from abaxus_core.http.texts import Key
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories.reservations import Place
from abaxus_core.services import reservations as service
from abaxus_core.services.work import Work

Seconds: TypeAlias = Annotated[
    int, msgspec.Meta(ge=domain.EXPIRES_IN_MIN_S, le=domain.EXPIRES_IN_MAX_S)
]


class NewReservation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`expires_in` in whole seconds."""

    customer_id: codec.CallerId
    feature_key: Key
    quantity: Decimal
    expires_in: Seconds = domain.EXPIRES_IN_DEFAULT_S
    idempotency_key: codec.IdempotencyKey | None = None


class Commitment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`quantity`: what of it was used; the rest is free again. `event`: the usage, to be stored.

    An event is of the same form as any other, of the reservation's customer, and counts for exactly
    `quantity`. Without one the quantity counts until the billing period ends.
    """

    quantity: Decimal
    event: NewEvent | None = None
    idempotency_key: codec.IdempotencyKey | None = None


class Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    idempotency_key: codec.IdempotencyKey | None = None


class HeldQuery(Paged, frozen=True, kw_only=True):
    """Without `feature_key`: of all features."""

    customer_id: codec.CallerId
    feature_key: Key | None = None


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """`committed_quantity` when it is committed, and `event_id` if with an event."""

    id: str
    customer_id: str
    feature_key: str
    quantity: Decimal
    status: ReservationStatus
    committed_quantity: Decimal | None
    event_id: str | None
    expires_at: datetime
    created_at: datetime
    settled_at: datetime | None


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page of reservations ended."""

    feature_key: str
    expires_at: datetime
    id: str


class GrantedReservation(Reservation, frozen=True, kw_only=True):
    """Room that is held. `available` is what more would be granted; null, as `limit`: unlimited.

    `reserved` is all that is held, or committed without an event, of this feature, with this.
    """

    granted: Literal[True] = True
    limit: Decimal | None
    current_usage: Decimal
    reserved: Decimal
    available: Decimal | None


class RefusedReservation(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is held: `quantity` is more than what is `available`. A limit that nobody grants
    is 0."""

    id: None = None
    granted: Literal[False] = False
    customer_id: str
    feature_key: str
    quantity: Decimal
    limit: Decimal
    current_usage: Decimal
    reserved: Decimal
    available: Decimal


async def reserve(call: Call[NewReservation, None]) -> Answer:
    """201 with what is held, 200 with what is left."""
    body = call.body
    new = service.NewReservation(
        customer_id=body.customer_id,
        feature_key=body.feature_key,
        quantity=body.quantity,
        expires_in_s=body.expires_in,
    )

    async def step(work: Work) -> GrantedReservation | RefusedReservation:
        return _answered(new, await service.reserve(work, new))

    async with call.context.reserving:
        return await call.write(lambda told: 201 if told.granted else 200, step)


async def get(call: Call[None, None]) -> Answer:
    now = call.context.clock()

    async def step(conn: Connection) -> Reservation:
        return _document(await service.get(conn, call.path["id"]), now)

    return await call.read(step)


async def list_held(call: Call[None, HeldQuery]) -> Answer:
    """What is held of a customer now, by feature, what runs out first before the rest."""
    query, now = call.query, call.context.clock()
    after = _read_place(query.cursor)

    async def step(conn: Connection) -> Page[Reservation]:
        rows = await service.held(
            conn,
            query.customer_id,
            at=now,
            feature_key=query.feature_key,
            after=after,
            rows_max=query.limit + 1,
        )
        cut = page(rows, query.limit, lambda row: (row.feature_key, row.expires_at, row.id))
        return Page(data=[_document(row, now) for row in cut.data], next_cursor=cut.next_cursor)

    return await call.read(step)


async def commit(call: Call[Commitment, None]) -> Answer:
    """Recording usage is for keys that may send events."""
    body, context = call.body, call.context
    recording = None
    if body.event is not None:
        check_covered(call.covers, "ingest")
        recording = await service.record(context.backfill, event_of(body.event))

    async def step(work: Work) -> Reservation:
        committed = await service.commit(work, call.path["id"], body.quantity, recording)
        return _document(committed, work.now)

    async with context.reserving:
        if recording is None:
            return await call.write(200, step)
        return await context.backfill.ready([recording.checked], lambda: call.write(200, step))


async def release(call: Call[Release, None]) -> Answer:
    async def step(work: Work) -> Reservation:
        return _document(await service.release(work, call.path["id"]), work.now)

    async with call.context.reserving:
        return await call.write(200, step)


def _read_place(cursor: str | None) -> Place | None:
    """The reservation after which a page begins; None for the first page. Raises InvalidInput."""
    if cursor is None:
        return None
    position = read_cursor(cursor, _Position)
    return position.feature_key, check_instant(position.expires_at, "cursor"), position.id


def _answered(
    new: service.NewReservation, reserved: service.Reserved
) -> GrantedReservation | RefusedReservation:
    room, made = reserved.room, reserved.reservation
    if made is not None:
        held = msgspec.structs.asdict(_document(made, made.created_at))
        return GrantedReservation(**held, **msgspec.structs.asdict(room))
    assert room.limit is not None, "what is unlimited is never refused"
    assert room.available is not None, "what is unlimited is never refused"
    return RefusedReservation(
        customer_id=new.customer_id,
        feature_key=new.feature_key,
        quantity=new.quantity,
        limit=room.limit,
        current_usage=room.current_usage,
        reserved=room.reserved,
        available=room.available,
    )


def _document(reservation: domain.Reservation, now: datetime) -> Reservation:
    return Reservation(
        id=reservation.id,
        customer_id=reservation.customer_id,
        feature_key=reservation.feature_key,
        quantity=reservation.quantity,
        status=status_at(reservation, now),
        committed_quantity=reservation.committed_quantity,
        event_id=reservation.event_id,
        expires_at=reservation.expires_at,
        created_at=reservation.created_at,
        settled_at=reservation.settled_at,
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/entitlements/reservations",
        handler=reserve,
        scope="reserving",
        body=NewReservation,
        answers={201: GrantedReservation, 200: RefusedReservation},
        errors=("CUSTOMER_NOT_FOUND",),
        example={"customer_id": "acme", "feature_key": "api_calls", "quantity": 500},
        summary="Hold some of what is left of a limit: granted (201), or not (200)",
        tag="Entitlements",
    ),
    Endpoint(
        method="GET",
        path="/v1/entitlements/reservations",
        handler=list_held,
        scope="entitlements",
        query=HeldQuery,
        answers={200: Page[Reservation]},
        errors=("CUSTOMER_NOT_FOUND",),
        summary="List what is held of a customer now",
        tag="Entitlements",
    ),
    Endpoint(
        method="GET",
        path="/v1/entitlements/reservations/{id}",
        handler=get,
        scope="entitlements",
        answers={200: Reservation},
        errors=("RESERVATION_NOT_FOUND",),
        summary="Read a reservation",
        tag="Entitlements",
    ),
    Endpoint(
        method="POST",
        path="/v1/entitlements/reservations/{id}/commit",
        handler=commit,
        scope="reserving",
        body=Commitment,
        answers={200: Reservation},
        errors=(
            "RESERVATION_NOT_FOUND",
            "RESERVATION_EXPIRED",
            "INVALID_STATE",
            "CUSTOMER_NOT_FOUND",
            "METRIC_NOT_FOUND",
            "SUBSCRIPTION_NOT_FOUND",
            "METRIC_INACTIVE",
            "TIMESTAMP_IN_FUTURE",
        ),
        example={"quantity": 420},
        summary="Turn what is held into usage; with an event the key needs the scope ingest, too",
        tag="Entitlements",
    ),
    Endpoint(
        method="POST",
        path="/v1/entitlements/reservations/{id}/release",
        handler=release,
        scope="reserving",
        body=Release,
        answers={200: Reservation},
        errors=("RESERVATION_NOT_FOUND", "INVALID_STATE"),
        summary="Free what is held",
        tag="Entitlements",
    ),
)

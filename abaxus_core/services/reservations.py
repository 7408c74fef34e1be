"""Reservations: room under a limit, given to one caller at a time, so that all of them together
never get more than there is.

Whoever reserves, commits or releases holds the tally of the customer's feature until the commit,
and reads usage only then: what others committed before is in it, what they hold is in the tally.
PostgreSQL alone decides; no cache is asked (docs/decisions/0020-reservations.md).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import msgspec

from abaxus_core.domain import reservations as domain
from abaxus_core.domain.decimals import ZERO
from abaxus_core.domain.events import Event
from abaxus_core.domain.instants import instant_of
from abaxus_core.domain.reservations import Recorded, Reservation, Room, Standing, Tally
from abaxus_core.errors import (
    Conflict,
    IdempotencyMismatch,
    InvalidInput,
    InvariantBroken,
    NotFound,
)
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import reservations as repository
from abaxus_core.repositories.reservations import Place, Settlement
from abaxus_core.services import customers
from abaxus_core.services.backfill import Backfill
from abaxus_core.services.entitlements.exact import exact
from abaxus_core.services.ingestion import Checked
from abaxus_core.services.work import Work

KEPT_FOR: Final = timedelta(days=7)
DELETED_AT_ONCE_MAX: Final = 5_000


class NewReservation(msgspec.Struct, frozen=True, kw_only=True):
    customer_id: str
    feature_key: str
    quantity: Decimal
    expires_in_s: int


class Reserved(msgspec.Struct, frozen=True, kw_only=True):
    """What was granted, None where there was no room; `room` is what is left after it."""

    reservation: Reservation | None
    room: Room


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """An event, held against the catalogue, that a commit stores with `backfill`."""

    backfill: Backfill
    customer_id: str
    checked: Checked


async def reserve(work: Work, new: NewReservation) -> Reserved:
    """Hold room for the quantity if there is, or say what is left.

    Raises CUSTOMER_NOT_FOUND; InvalidInput for what is no limit on a sum or a count.
    """
    domain.check_quantity(new.quantity)
    domain.check_expires_in(new.expires_in_s)
    seen = await _look(work, new)
    domain.check_reservable(seen.standing)
    domain.check_countable(seen.standing, new.quantity)
    room = domain.room(seen.standing, seen.tally, seen.at)
    if seen.customer_no is None or not room.holds(new.quantity):
        return Reserved(reservation=None, room=room)
    reservation = _reservation(work, new, seen, seen.customer_no)
    await repository.insert(work.conn, reservation)
    taken = domain.room(seen.standing, seen.tally.with_held(new.quantity), seen.at)
    return Reserved(reservation=reservation, room=taken)


async def get(conn: Connection, reservation_id: str) -> Reservation:
    """Raises RESERVATION_NOT_FOUND."""
    reservation = await repository.get(conn, reservation_id)
    if reservation is None:
        raise _no_such_reservation(reservation_id)
    return reservation


async def held(
    conn: Connection,
    customer_id: str,
    *,
    at: datetime,
    feature_key: str | None,
    after: Place | None,
    rows_max: int,
) -> list[Reservation]:
    """What is held of the customer's feature, or of all, by feature and end.

    Raises CUSTOMER_NOT_FOUND.
    """
    customer_no = (await customers.get(conn, customer_id)).customer_no
    return await repository.held(
        conn, customer_no, at=at, feature_key=feature_key, after=after, rows_max=rows_max
    )


async def record(backfill: Backfill, event: Event) -> Recording:
    """The event for a commit to store. Raises what accepting it would, its fields as `event.…`."""
    with _naming_the_event():
        checked = await backfill.check_one(event)
    return Recording(backfill=backfill, customer_id=event.customer_id, checked=checked)


async def commit(
    work: Work, reservation_id: str, quantity: Decimal, recording: Recording | None
) -> Reservation:
    """Turn what is held into usage: by storing its event, or by counting it until the period ends.

    What was reserved beyond the quantity is free again. The same once more changes nothing.
    Raises RESERVATION_NOT_FOUND, RESERVATION_EXPIRED, INVALID_STATE; InvalidInput for a quantity
    beyond what is held and for an event that is not what it was held for; METRIC_INACTIVE;
    IDEMPOTENCY_KEY_REUSED when another event has the event's key.
    """
    domain.check_quantity(quantity)
    held = await _hold(work, reservation_id)
    recorded = None if recording is None else _recorded(recording)
    if domain.is_repeated(held.reservation, quantity, recorded):
        return held.reservation
    domain.check_held(held.reservation, held.at)
    domain.check_committed(held.reservation, quantity)
    standing = await _standing(work, held.reservation, held.at)
    if recording is None or recorded is None:
        return await _settle(work, held, _counted(held.at, quantity, standing))
    domain.check_recorded(held.reservation, quantity, recorded)
    domain.check_dated(held.reservation, recorded, standing)
    with _naming_the_event():
        settled = await _settle(work, held, _stored(held.at, quantity, recorded))
        await recording.backfill.store_within(work.conn, recording.checked)
    return settled


async def release(work: Work, reservation_id: str) -> Reservation:
    """Free what is held; what is free already stays as it is.

    Raises RESERVATION_NOT_FOUND; INVALID_STATE for what was committed.
    """
    held = await _hold(work, reservation_id)
    if domain.status_at(held.reservation, held.at) in ("released", "expired"):
        return held.reservation
    domain.check_held(held.reservation, held.at)
    return await _settle(work, held, Settlement(status="released", at=held.at))


async def expire(work: Work) -> int:
    """End what has run out of one feature; 0 when there is none left anywhere."""
    reservation_id = await repository.next_run_out(work.conn, work.now)
    if reservation_id is None:
        return 0
    locked = await repository.lock_tally_of(work.conn, reservation_id)
    if locked is not None:
        await repository.expire(work.conn, locked, work.now)
    return 1


async def prune(work: Work) -> int:
    """Forget what was settled a week ago, some thousands at a time; how many were forgotten."""
    return await repository.delete_settled(
        work.conn, settled_before=work.now - KEPT_FOR, rows_max=DELETED_AT_ONCE_MAX
    )


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What is decided by, and for which instant; `customer_no` None where nothing is granted."""

    customer_no: int | None
    tally: Tally
    standing: Standing
    at: datetime


class _Held(msgspec.Struct, frozen=True, kw_only=True):
    """A reservation while its tally is held, and the instant that it is decided for."""

    reservation: Reservation
    at: datetime


async def _look(work: Work, new: NewReservation) -> _Seen:
    """Hold the tally, end what has run out, and then read what is granted and used.

    A feature that was never granted has no tally, and gets none.
    """
    locked = await repository.lock_tally(work.conn, new.customer_id, new.feature_key)
    if locked is None:
        standing = await _standing(work, new, work.now)
        domain.check_reservable(standing)
        if not standing.combined.granted:
            return _Seen(customer_no=None, tally=Tally(), standing=standing, at=work.now)
        await repository.make_tally(work.conn, new.customer_id, new.feature_key)
        locked = await repository.lock_tally(work.conn, new.customer_id, new.feature_key)
        assert locked is not None, "a tally is never deleted"
    at = locked.tally.instant(work.now)
    tally = await repository.expire(work.conn, locked, at)
    standing = await _standing(work, new, at)
    return _Seen(customer_no=locked.customer_no, tally=tally, standing=standing, at=at)


async def _standing(work: Work, of: NewReservation | Reservation, at: datetime) -> Standing:
    """Raises CUSTOMER_NOT_FOUND."""
    snapshot = await exact(work.conn, of.customer_id, (of.feature_key,), now=at)
    if snapshot is None:
        raise customers.no_such_customer(of.customer_id)
    return domain.standing(snapshot, of.feature_key, at)


def _reservation(work: Work, new: NewReservation, seen: _Seen, customer_no: int) -> Reservation:
    counted = seen.standing.measures
    return Reservation(
        id=work.ids.new("res"),
        customer_no=customer_no,
        customer_id=new.customer_id,
        feature_key=new.feature_key,
        metric_nos=tuple(sorted({each.metering.metric_no for each in counted})),
        quantity=new.quantity,
        counts_from=domain.counts_from(counted),
        expires_at=seen.at + timedelta(seconds=new.expires_in_s),
        created_at=seen.at,
    )


async def _hold(work: Work, reservation_id: str) -> _Held:
    locked = await repository.lock_tally_of(work.conn, reservation_id)
    if locked is None:
        raise _no_such_reservation(reservation_id)
    reservation = await get(work.conn, reservation_id)
    return _Held(reservation=reservation, at=locked.tally.instant(work.now))


def _recorded(recording: Recording) -> Recorded:
    event = recording.checked.event
    return Recorded(
        event_id=recording.checked.event_id,
        customer_id=recording.customer_id,
        metric_no=event.metric_no,
        value=Decimal(event.value),
        occurred_at=instant_of(event.occurred_us),
    )


def _counted(at: datetime, quantity: Decimal, standing: Standing) -> Settlement:
    """Without an event it counts on, until all of today's periods have ended."""
    ends = [each.period.end for each in standing.measures]
    return Settlement(
        status="committed",
        at=at,
        committed_quantity=quantity,
        counted=quantity if ends else ZERO,
        counted_until=max(ends, default=None),
    )


def _stored(at: datetime, quantity: Decimal, recorded: Recorded) -> Settlement:
    """With an event it is usage: nothing has to be counted beside it."""
    return Settlement(
        status="committed", at=at, committed_quantity=quantity, event_id=recorded.event_id
    )


async def _settle(work: Work, held: _Held, settlement: Settlement) -> Reservation:
    if not await repository.settle(work.conn, held.reservation.id, settlement):
        raise InvariantBroken("a reservation changes only while its tally is held")
    return await get(work.conn, held.reservation.id)


@contextmanager
def _naming_the_event() -> Iterator[None]:
    """Errors name the fields of the event as the commit's body has them."""
    try:
        yield
    except (InvalidInput, NotFound, Conflict, IdempotencyMismatch) as error:
        raise type(error)(
            error.message,
            code=error.code,
            field=f"event.{error.field}" if error.field else "event",
            details=error.details,
        ) from error


def _no_such_reservation(reservation_id: str) -> NotFound:
    return NotFound(f"there is no reservation {reservation_id}", code="RESERVATION_NOT_FOUND")

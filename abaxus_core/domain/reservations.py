"""Reservations: room under a limit, held for a caller until it commits or releases it or its time
is up. What room there is, what may be reserved of it, and what may still become of a reservation.

That nobody else decides meanwhile is services/reservations.py's care.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

import msgspec

from abaxus_core.domain.decimals import DECIMALS_MAX, ZERO, check_decimal, exact, shift
from abaxus_core.domain.entitlement_documents import Measure, Snapshot, combined, measures
from abaxus_core.domain.entitlements import Combined
from abaxus_core.errors import Conflict, IllegalTransition, InvalidInput

ReservationStatus = Literal["held", "committed", "released", "expired"]

EXPIRES_IN_DEFAULT_S: Final = 60
EXPIRES_IN_MIN_S: Final = 1
EXPIRES_IN_MAX_S: Final = 86_400

# Of these, what is reserved adds to what is used; the highest or the last value does not add up.
RESERVABLE: Final[frozenset[str]] = frozenset({"sum", "count"})

_ONE = Decimal(1)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer is granted of a feature, and all that its limits count."""

    combined: Combined
    measures: tuple[Measure, ...]


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What is held of a feature, and what was committed without an event and counts until then.

    `decided_at` is the latest instant that anything was decided for.
    """

    held: Decimal = ZERO
    committed: Decimal = ZERO
    committed_until: datetime | None = None
    decided_at: datetime | None = None

    def instant(self, now: datetime) -> datetime:
        """When it is for who decides next: time does not go back, whichever clock is asked."""
        return now if self.decided_at is None else max(now, self.decided_at)

    def reserved(self, now: datetime) -> Decimal:
        """Everything that is taken beside usage."""
        if self.committed_until is None or self.committed_until <= now:
            return self.held
        with exact():
            return self.held + self.committed

    def with_held(self, quantity: Decimal) -> "Tally":
        with exact():
            return msgspec.structs.replace(self, held=self.held + quantity)


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """`available` is the most that would be granted; None, as `limit`, where it is unlimited."""

    limit: Decimal | None
    current_usage: Decimal
    reserved: Decimal
    available: Decimal | None

    def holds(self, quantity: Decimal) -> bool:
        return self.available is None or quantity <= self.available


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """`metric_nos`: what the feature counted; of these, `counting_nos` count events, not values.

    An event that commits it is dated from `counts_from` on, the start of the billing period that
    it was made in. `settled_at` is None while it is held.
    """

    id: str
    customer_no: int
    customer_id: str
    feature_key: str
    metric_nos: tuple[int, ...]
    counting_nos: tuple[int, ...] = ()
    quantity: Decimal
    status: ReservationStatus = "held"
    committed_quantity: Decimal | None = None
    event_id: str | None = None
    counts_from: datetime
    expires_at: datetime
    created_at: datetime
    settled_at: datetime | None = None


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """The event that a commit records, as far as the reservation asks for it."""

    event_id: str
    customer_id: str
    metric_no: int
    value: Decimal
    occurred_at: datetime


def standing(snapshot: Snapshot, feature_key: str, now: datetime) -> Standing:
    """Return how it stands with a feature; the snapshot must cover it."""
    (found,) = combined(snapshot, (feature_key,), now)
    counted = measures(snapshot.document, (feature_key,), now)
    return Standing(combined=found, measures=tuple(counted or ()))


def check_quantity(quantity: Decimal) -> Decimal:
    """Return a quantity that can be reserved or committed. Raises InvalidInput."""
    check_decimal(quantity, "quantity")
    if quantity <= 0:
        raise InvalidInput("must be above zero", field="quantity")
    return quantity


def check_expires_in(seconds: int) -> None:
    """Raise InvalidInput beyond the bounds."""
    if not EXPIRES_IN_MIN_S <= seconds <= EXPIRES_IN_MAX_S:
        raise InvalidInput(
            f"must be {EXPIRES_IN_MIN_S} to {EXPIRES_IN_MAX_S} seconds", field="expires_in"
        )


def check_reservable(seen: Standing) -> None:
    """Raise InvalidInput unless the feature is a limit that adds up, or is not granted at all."""
    kind = seen.combined.type
    if kind not in ("limit", None):
        raise InvalidInput(f"is {kind}; only limits can be reserved", field="feature_key")
    for each in seen.measures:
        if each.metering.aggregation not in RESERVABLE:
            raise InvalidInput(
                f"limits a metric that aggregates by {each.metering.aggregation};"
                " only sums and counts can be reserved",
                field="feature_key",
            )


def check_countable(seen: Standing, quantity: Decimal) -> None:
    """Raise InvalidInput for a part of an event, where nothing but events is counted."""
    counts_events = [each.metering.aggregation == "count" for each in seen.measures]
    if counts_events and all(counts_events) and quantity % 1 != 0:
        raise InvalidInput("must be whole: the feature counts events", field="quantity")


def room(seen: Standing, tally: Tally, now: datetime) -> Room:
    """Return what is left of a limit: `(limit - usage) / weight - reserved`, never below zero.

    Where subscriptions count one metric over different periods, an event counts once in each, and
    so does what is reserved: `weight` times. Nothing is left where nobody grants the feature.
    """
    granted = seen.combined
    used, reserved = granted.current_usage or ZERO, tally.reserved(now)
    if granted.type is None:
        return Room(limit=ZERO, current_usage=used, reserved=reserved, available=ZERO)
    if granted.limit is None:
        return Room(limit=None, current_usage=used, reserved=reserved, available=None)
    with exact():
        unused = _shared(granted.limit - used, weight(seen.measures))
        available = max(ZERO, unused - reserved)
    return Room(limit=granted.limit, current_usage=used, reserved=reserved, available=available)


def weight(counted: Sequence[Measure]) -> int:
    """Return how often one event can count towards a limit."""
    return max(Counter(each.metering.metric_no for each in counted).values(), default=1)


def _shared(unused: Decimal, times: int) -> Decimal:
    """The most that can count `times` within `unused`, rounded down to ten decimals.

    >>> _shared(Decimal(100), 3)
    Decimal('33.3333333333')
    """
    if times == 1:
        return unused
    return shift(Decimal(int(shift(unused, DECIMALS_MAX)) // times), -DECIMALS_MAX)


def counts_from(counted: Sequence[Measure]) -> datetime:
    """Return since when all of it counts together."""
    return max(each.period.start for each in counted)


def status_at(reservation: Reservation, now: datetime) -> ReservationStatus:
    """Return its status: what is held has expired with its time, whoever has noticed it yet."""
    if reservation.status == "held" and reservation.expires_at <= now:
        return "expired"
    return reservation.status


def is_repeated(reservation: Reservation, quantity: Decimal, recorded: Recorded | None) -> bool:
    """Return whether it was committed before in the very same way."""
    return (
        reservation.status == "committed"
        and reservation.committed_quantity == quantity
        and reservation.event_id == (None if recorded is None else recorded.event_id)
    )


def check_held(reservation: Reservation, now: datetime) -> None:
    """Raise RESERVATION_EXPIRED or INVALID_STATE unless it can be committed."""
    status = status_at(reservation, now)
    if status == "expired":
        raise Conflict(
            f"the reservation expired at {reservation.expires_at.isoformat()}; make another",
            code="RESERVATION_EXPIRED",
        )
    if status != "held":
        raise IllegalTransition(f"the reservation is {status} already")


def check_committed(reservation: Reservation, quantity: Decimal) -> None:
    """Raise InvalidInput for more than was reserved."""
    if quantity > reservation.quantity:
        raise InvalidInput(
            "must not be more than what was reserved; reserve the rest", field="quantity"
        )


def check_recorded(reservation: Reservation, quantity: Decimal, recorded: Recorded) -> None:
    """Raise InvalidInput, with its field, for an event that is not what was reserved for."""
    if recorded.customer_id != reservation.customer_id:
        raise InvalidInput("is not the reservation's customer", field="event.customer_id")
    if recorded.metric_no not in reservation.metric_nos:
        raise InvalidInput(
            f"is not what {reservation.feature_key} counts", field="event.metric_key"
        )
    counts_events = recorded.metric_no in reservation.counting_nos
    measured = _ONE if counts_events else recorded.value
    if measured != quantity:
        said = "this metric counts events: one is 1" if counts_events else "the event's value"
        raise InvalidInput(f"must be what the event counts for ({said})", field="quantity")


def check_dated(reservation: Reservation, recorded: Recorded, seen: Standing) -> None:
    """Raise InvalidInput for an event of a billing period that the reservation was not held in.

    It is held from the period that it was made in to the one of `seen`, now; where no limit is
    granted any more, nothing limits the end.
    """
    ends = [each.period.end for each in seen.measures]
    if recorded.occurred_at < reservation.counts_from or (
        ends and recorded.occurred_at >= min(ends)
    ):
        raise InvalidInput(
            "must lie in a billing period that the reservation was held in", field="event.timestamp"
        )

"""Accepting usage events: checked one by one, durable before the answer, each once for ever.

The valid events of a request become one row of the inbox, in one commit; those of requests that
carry a single event share one. landing.py takes it from there. What is known already is answered
as a duplicate and not written again.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final, Literal, TypeAlias

import msgspec

from abaxus_core.domain.digest import event_digest, event_id, event_key
from abaxus_core.domain.events import Event, check_active, latest, spelled
from abaxus_core.domain.instants import microseconds
from abaxus_core.domain.metrics import Metric
from abaxus_core.errors import AbaxusError, InvalidInput, NotFound, RateLimited
from abaxus_core.kernel.batching import Batcher, Full
from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Connection, Database, wake_after_commit
from abaxus_core.repositories import event_keys, events, inbox
from abaxus_core.repositories.arrivals import arrivals
from abaxus_core.repositories.inbox import QueuedEvent
from abaxus_core.services.names import Named, Names
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.services.topics import INBOX

BATCH_MAX: Final = 1_000
# Of 16 KiB of properties each, a row of these is no larger than half a landing.
SINGLES_AT_ONCE: Final = 256
SINGLES_WAITING_MAX: Final = 10_000
BACKLOG_RETRY_AFTER_S: Final = 5


class Accepted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`duplicate`: known already, from before or from earlier in the request."""

    event_id: str
    idempotency_key: str
    duplicate: bool


class Checked(msgspec.Struct, frozen=True, gc=False):
    """An event that fits its metric. `identity` names it, see `event_keys`; `event_id` does so to
    callers."""

    event: QueuedEvent
    identity: bytes
    event_id: str
    refusal: AbaxusError | None


Offer: TypeAlias = Event | AbaxusError
Result: TypeAlias = Accepted | AbaxusError


class Intake:
    """Takes events in for one mode; `backlog_max` rows, none older than `backlog_age_max`, wait."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        telemetry: Telemetry,
        *,
        backlog_max: int,
        backlog_age_max: timedelta,
    ) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._backlog_max = backlog_max
        self._backlog_age_max = backlog_age_max
        self._names = Names(database)
        self._singles = Batcher(
            self.accept, size_max=SINGLES_AT_ONCE, waiting_max=SINGLES_WAITING_MAX
        )

    async def accept(self, offers: Sequence[Offer]) -> Sequence[Result]:
        """Queue the events that are valid and new; return one result per item, in order.

        An item that is an error already stays one; at most BATCH_MAX items. Durable on return.
        Raises RateLimited BACKLOG_FULL, and writes nothing, while too much waits to land.
        """
        assert len(offers) <= BATCH_MAX, "the route bounds a batch"
        results = await self._queue(await self.check(offers))
        for outcome, count in Counter(map(outcome_of, results)).items():
            self._telemetry.events_seen(self._database.mode, outcome, count)
        return results

    async def accept_one(self, event: Event) -> Result:
        """Accept one event as `accept` does, together with those that arrive meanwhile."""
        try:
            return await self._singles.submit(event)
        except Full as error:
            raise _full() from error

    async def check(self, offers: Sequence[Offer]) -> list[Checked | AbaxusError]:
        """Hold events against the catalogue; return one result per item, in order."""
        now = self._clock()
        named = await self._names.find([offer for offer in offers if isinstance(offer, Event)])
        checking = _Checking(named, _inactive(named.metrics.values()), latest(now))
        return [checking.result(offer) for offer in offers]

    async def _queue(self, checked: Sequence[Checked | AbaxusError]) -> Sequence[Result]:
        """Write what is new as one row, and payloads that came second as conflicts.

        As a rule all is new, so it is tried before it is asked; each round knows more.
        """
        async with self._database.connection() as conn:
            sorting = Sorting(await self._known(conn, checked), checked)
            for _ in checked:
                if not sorting.fresh:
                    break
                appended = await self._append(conn, sorting.fresh)
                if appended.done:
                    break
                sorting = Sorting({**sorting.stored, **appended.known}, checked)
            if sorting.second:
                await self._record(conn, sorting.second)
        return sorting.results

    async def _known(
        self, conn: Connection, checked: Sequence[Checked | AbaxusError]
    ) -> Mapping[bytes, int]:
        """Where a metric takes no new events, what is known has to be asked first."""
        refused = [each for each in checked if isinstance(each, Checked) and each.refusal]
        return await event_keys.known(conn, [each.identity for each in refused])

    async def _record(self, conn: Connection, second: Sequence[QueuedEvent]) -> None:
        now_us = microseconds(self._clock())
        recorded = await events.record_conflicts(
            conn, arrivals(second, first_no=0, received_us=now_us)
        )
        self._telemetry.conflicts_recorded(self._database.mode, recorded)

    async def _append(self, conn: Connection, fresh: Mapping[bytes, QueuedEvent]) -> inbox.Appended:
        now = self._clock()
        appended = await inbox.append(
            conn,
            fresh,
            now,
            backlog_max=self._backlog_max,
            oldest_min=now - self._backlog_age_max,
        )
        if appended.done:
            wake_after_commit(INBOX)
        elif not appended.known:
            raise _full()
        return appended


async def sort(conn: Connection, checked: Sequence[Checked | AbaxusError]) -> "Sorting":
    """Tell the new from the known; what still waits in the inbox is not known."""
    named = [each.identity for each in checked if isinstance(each, Checked)]
    return Sorting(await event_keys.known(conn, named), checked)


class Sorting:
    """Tells the new from the known, in the order in which they came.

    `stored` are the hashes of the known, by identity. `fresh` is what is new, the first of each
    identity; `second` are payloads other than the first; `results` is what to answer, one per item.
    """

    def __init__(
        self, stored: Mapping[bytes, int], checked: Sequence[Checked | AbaxusError]
    ) -> None:
        self.stored = stored
        self.fresh: dict[bytes, QueuedEvent] = {}
        self.second: list[QueuedEvent] = []
        self.results = [self._add(each) for each in checked]

    def _add(self, checked: Checked | AbaxusError) -> Result:
        """What to answer. Only what is new asks whether its metric takes events: a replay is
        answered as the first was."""
        if isinstance(checked, AbaxusError):
            return checked
        stored_hash = self.stored.get(checked.identity)
        if stored_hash is None:
            first = self.fresh.get(checked.identity)
            if first is None:
                return self._add_new(checked)
            stored_hash = first.payload_hash
        if stored_hash != checked.event.payload_hash:
            self.second.append(checked.event)
        return _accepted(checked, duplicate=True)

    def _add_new(self, checked: Checked) -> Result:
        if checked.refusal is not None:
            return checked.refusal
        self.fresh[checked.identity] = checked.event
        return _accepted(checked, duplicate=False)


def outcome_of(result: Result) -> Literal["accepted", "duplicate", "rejected"]:
    """The word that answers and telemetry count a result by."""
    if isinstance(result, AbaxusError):
        return "rejected"
    return "duplicate" if result.duplicate else "accepted"


class _Checking(msgspec.Struct, frozen=True):
    """What the events of a request are held against; `refusals` by the number of the metric."""

    named: Named
    refusals: Mapping[int, AbaxusError]
    latest_us: int

    def result(self, offer: Offer) -> Checked | AbaxusError:
        if isinstance(offer, AbaxusError):
            return offer
        try:
            return self._checked(offer)
        except AbaxusError as error:
            return error

    def _checked(self, event: Event) -> Checked:
        customer_no = self.named.customers.get(event.customer_id)
        if customer_no is None:
            raise _missing("customer", event.customer_id, field="customer_id")
        metric = self.named.metrics.get(event.metric_key)
        if metric is None:
            raise _missing("metric", event.metric_key, field="metric_key")
        if event.subscription_id is not None:
            _check_subscription(event.subscription_id, customer_no, self.named)
        said = spelled(event, metric, self.latest_us)
        digest = event_digest(event.customer_id, event.idempotency_key)
        key = event_key(digest)
        queued = QueuedEvent(
            customer_no=customer_no,
            metric_no=metric.metric_no,
            key=key,
            occurred_us=said.occurred_us,
            value=said.value,
            idempotency_key=event.idempotency_key,
            subscription_id=event.subscription_id,
            properties=said.properties,
        )
        return Checked(
            queued,
            event_keys.identity(customer_no, key),
            event_id(digest),
            self.refusals.get(metric.metric_no),
        )


def _check_subscription(subscription_id: str, customer_no: int, named: Named) -> None:
    owner_no = named.subscriptions.get(subscription_id)
    if owner_no is None:
        raise _missing("subscription", subscription_id, field="subscription_id")
    if owner_no != customer_no:
        raise InvalidInput("belongs to another customer", field="subscription_id")


def _missing(what: str, name: str, *, field: str) -> NotFound:
    return NotFound(f"there is no {what} {name}", code=f"{what.upper()}_NOT_FOUND", field=field)


def _inactive(named: Iterable[Metric]) -> dict[int, AbaxusError]:
    """The refusal of each metric that takes no new events, by number."""
    refusals: dict[int, AbaxusError] = {}
    for metric in named:
        try:
            check_active(metric)
        except AbaxusError as refusal:
            refusals[metric.metric_no] = refusal
    return refusals


def _accepted(checked: Checked, *, duplicate: bool) -> Accepted:
    return Accepted(
        event_id=checked.event_id,
        idempotency_key=checked.event.idempotency_key,
        duplicate=duplicate,
    )


def _full() -> RateLimited:
    return RateLimited(
        "too many accepted events wait to be processed; come back shortly",
        retry_after_s=BACKLOG_RETRY_AFTER_S,
        code="BACKLOG_FULL",
    )

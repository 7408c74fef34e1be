"""The events of a run: 1,000 customers, five metrics, the last hour, some 200 bytes of JSON each.

The same numbers give the same events, in whatever form a part needs them.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec

from abaxus_core.domain.digest import event_digest, event_key
from abaxus_core.domain.instants import microseconds
from abaxus_core.repositories import event_keys
from abaxus_core.repositories.inbox import QueuedEvent

CUSTOMERS = 1_000
METRICS = 5
BATCH = 1_000
KEY_BITS = 160
HOUR_US = 3_600_000_000
PROPERTIES = '{"region":"eu-west-1"}'
COLUMNS = (
    "customer_no",
    "metric_no",
    "occurred_at",
    "landing_no",
    "arrival_no",
    "payload_hash",
    "value",
    "received_at",
    "idempotency_key",
    "subscription_id",
    "properties",
)


class Made(msgspec.Struct, frozen=True):
    """One event; the customer and the metric by number."""

    customer_no: int
    metric_no: int
    value: str
    occurred_at: datetime
    idempotency_key: str

    @property
    def customer_id(self) -> str:
        return f"customer-{self.customer_no:04}"

    @property
    def metric_key(self) -> str:
        return f"metric-{self.metric_no}"


def made(run: str, count: int) -> list[Made]:
    """The events of the run of that name."""
    chance = random.Random(run)
    hour = datetime.now(UTC) - timedelta(hours=1)
    return [
        Made(
            chance.randrange(CUSTOMERS) + 1,
            chance.randrange(METRICS) + 1,
            f"{chance.randrange(1, 100_000) / Decimal(100)}",
            hour + timedelta(microseconds=chance.randrange(HOUR_US)),
            f"{chance.getrandbits(KEY_BITS):040x}",
        )
        for _ in range(count)
    ]


def everybody(run: str) -> list[Made]:
    """An event of each customer: a process that has accepted these knows them all."""
    now = datetime.now(UTC)
    return [
        Made(number + 1, number % METRICS + 1, "1", now, f"{run}-{number}")
        for number in range(CUSTOMERS)
    ]


def batches(events: list[Made]) -> Iterator[list[Made]]:
    """BATCH of them at a time."""
    for start in range(0, len(events), BATCH):
        yield events[start : start + BATCH]


def body(batch: list[Made]) -> bytes:
    """The batch as POST /v1/events/batch takes it."""
    return b'{"events":[' + b",".join(map(item, batch)) + b"]}"


def item(event: Made) -> bytes:
    """The event as POST /v1/events takes it."""
    return (
        f'{{"customer_id":"{event.customer_id}","metric_key":"{event.metric_key}",'
        f'"value":{event.value},"timestamp":"{event.occurred_at.isoformat()}",'
        f'"idempotency_key":"{event.idempotency_key}","properties":{PROPERTIES}}}'
    ).encode()


def identity(event: Made) -> bytes:
    """What names the event in the database."""
    return event_keys.identity(event.customer_no, _key(event))


def _key(event: Made) -> bytes:
    return event_key(event_digest(event.customer_id, event.idempotency_key))


def queued(event: Made) -> QueuedEvent:
    """The event as a row of the inbox holds it."""
    return QueuedEvent(
        customer_no=event.customer_no,
        metric_no=event.metric_no,
        key=_key(event),
        occurred_us=microseconds(event.occurred_at),
        value=event.value,
        idempotency_key=event.idempotency_key,
        subscription_id=None,
        properties=PROPERTIES,
    )


def record(event: Made, arrival_no: int) -> tuple[object, ...]:
    """The event as a row of the table, in the order of COLUMNS."""
    return (
        event.customer_no, event.metric_no, event.occurred_at, 1, arrival_no, arrival_no,
        Decimal(event.value), event.occurred_at, event.idempotency_key, None, PROPERTIES,
    )  # fmt: skip

"""The inbox: accepted events that have not landed, a row a request; and what could not land."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

import msgspec

from abaxus_core.domain.digest import payload_hash
from abaxus_core.domain.events import stored_properties_text
from abaxus_core.kernel.database import Connection, Record
from abaxus_core.kernel.sql import queries
from abaxus_core.repositories import event_keys

_sql = queries("inbox")
_append = _sql.many("append")
_claim = _sql.many("claim")
_next_number = _sql.one("next_number")
_set_aside = _sql.exec("set_aside")
_known_customers = _sql.many("known_customers")
_known_subscriptions = _sql.many("known_subscriptions")


class QueuedEvent(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """An accepted event as a row of the inbox holds it: a JSON array, fields in this order.

    A newer version may append fields that have defaults: pods of both read each other's rows.
    `key` is `digest.event_key` (base64), `occurred_us` counts from PostgreSQL's epoch, see
    `instants.microseconds`; `value` is in plain notation, `properties` the JSON text of an object
    with its names in order.
    """

    customer_no: int
    metric_no: int
    key: bytes
    occurred_us: int
    value: str
    idempotency_key: str
    subscription_id: str | None
    properties: str | None

    @property
    def payload_hash(self) -> int:
        return payload_hash(
            self.key,
            self.metric_no,
            self.occurred_us,
            self.value,
            self.subscription_id,
            self.properties,
        )


class _RecordedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that the database queued by itself (docs/recording.md): an object, alone in its row.

    The fields are those of QueuedEvent, but `properties` are an object or null, and spelt as
    PostgreSQL spells them.
    """

    customer_no: int
    metric_no: int
    key: bytes
    occurred_us: int
    value: str
    idempotency_key: str
    properties: msgspec.Raw


_encode = msgspec.json.Encoder().encode
_NO_PROPERTIES: Final = ("null", "{}")
_decode = msgspec.json.Decoder(list[QueuedEvent] | _RecordedEvent).decode


class InboxRow(msgspec.Struct, frozen=True, kw_only=True):
    inbox_id: int
    event_count: int
    events: bytes
    received_at: datetime


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """Whether events were queued; if not, the payload hashes of those that are known: none where
    too much waits."""

    done: bool
    known: Mapping[bytes, int] = {}


def decode_events(row: InboxRow) -> list[QueuedEvent]:
    """Return the row's events. Raises msgspec.MsgspecError when it is not ours to read."""
    events = _decode(row.events)
    return [_queued(events)] if isinstance(events, _RecordedEvent) else events


async def append(
    conn: Connection,
    events: Mapping[bytes, QueuedEvent],
    received_at: datetime,
    *,
    backlog_max: int,
    oldest_min: datetime,
) -> Appended:
    """Queue events, by identity, as one row; durable with the commit.

    Nothing is queued when some are known, nor while `backlog_max` rows wait or one from before
    `oldest_min` does.
    """
    rows = await _append(
        conn,
        len(events),
        _encode(list(events.values())),
        received_at,
        *event_keys.columns(events),
        backlog_max,
        oldest_min,
    )
    if rows and rows[0]["inbox_id"] is not None:
        return Appended(done=True)
    named = list(events)
    return Appended(done=False, known={named[row["place"]]: row["payload_hash"] for row in rows})


async def next_number(conn: Connection) -> int:
    """Take the number of a row that will never be in the inbox, for events that pass it by."""
    row = await _next_number(conn)
    number: int = row["inbox_id"]
    return number


async def claim(conn: Connection, *, events_max: int, bytes_max: int) -> list[InboxRow]:
    """Take the oldest rows that nobody else holds; a rollback puts them back.

    Stops after the row that reaches either bound.
    """
    rows = await _claim(conn, events_max, bytes_max)
    return sorted((_row(record) for record in rows), key=lambda row: row.inbox_id)


async def set_aside(conn: Connection, row: InboxRow, error: str, at: datetime) -> None:
    """Keep a claimed row that cannot land, with the reason."""
    await _set_aside(conn, row.inbox_id, row.event_count, row.events, row.received_at, error, at)


async def known_customers(conn: Connection, customer_ids: Collection[str]) -> dict[str, int]:
    """Return the numbers of those customers that exist, by id."""
    rows = await _known_customers(conn, list(customer_ids))
    return {row["customer_id"]: row["customer_no"] for row in rows}


async def known_subscriptions(
    conn: Connection, subscription_ids: Collection[str]
) -> dict[str, int]:
    """Return the customer's number of each of those subscriptions that exist, by id."""
    rows = await _known_subscriptions(conn, list(subscription_ids))
    return {row["subscription_id"]: row["customer_no"] for row in rows}


def _queued(recorded: _RecordedEvent) -> QueuedEvent:
    properties = stored_properties_text(bytes(recorded.properties).decode())
    return QueuedEvent(
        customer_no=recorded.customer_no,
        metric_no=recorded.metric_no,
        key=recorded.key,
        occurred_us=recorded.occurred_us,
        value=recorded.value,
        idempotency_key=recorded.idempotency_key,
        subscription_id=None,
        properties=None if properties in _NO_PROPERTIES else properties,
    )


def _row(record: Record) -> InboxRow:
    return InboxRow(
        inbox_id=record["inbox_id"],
        event_count=record["event_count"],
        events=record["events"],
        received_at=record["received_at"],
    )

"""Senders that know what was acknowledged, and what a database must then hold."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

import httpx
import msgspec

from abaxus_core.domain.instants import text_of
from abaxus_core.kernel.database import Database
from tests.support.api import bearer
from tests.support.fleet import Fleet
from tests.support.metering import T0, fetch

BATCH_SIZES = (1, 2, 20, 100)
REPLAYED_OF = 5
ALTERED_OF = 12
TRY_AGAIN_MS = 10


class Parcel(msgspec.Struct, frozen=True):
    """Events of one request, as JSON objects."""

    events: Sequence[Mapping[str, str]]


@dataclass(slots=True)
class Feeder:
    """Sends parcels until each is acknowledged, whatever becomes of who should.

    `sent`: value by key of what came first; `altered`: of what came second under its key.
    """

    fleet: Fleet
    key: str
    ports: Sequence[int]
    dice: random.Random
    customer_ids: Sequence[str] = ("acme", "beta")
    metric_keys: Sequence[str] = ("total", "calls", "peak", "low", "level")
    sent: dict[str, str] = field(default_factory=dict)
    altered: dict[str, str] = field(default_factory=dict)
    acknowledged: int = 0
    interrupted: int = 0
    refused: int = 0
    _made: int = 0
    _past: list[Parcel] = field(default_factory=list)

    async def feed(self, stop: asyncio.Event) -> None:
        """One sender: new parcels, and now and then one that was acknowledged before."""
        while not stop.is_set():
            parcel = self._next()
            await self._deliver(parcel)
            self._past.append(parcel)

    def _next(self) -> Parcel:
        if self._past and self.dice.randrange(REPLAYED_OF) == 0:
            return self.dice.choice(self._past)
        if self._past and self.dice.randrange(ALTERED_OF) == 0:
            return self._alter(self.dice.choice(self._past))
        size = self.dice.choice(BATCH_SIZES)
        return Parcel([self._event() for _ in range(size)])

    def _event(self) -> dict[str, str]:
        self._made += 1
        key = f"key-{self._made}"
        made = {
            "customer_id": self.dice.choice(self.customer_ids),
            "metric_key": self.dice.choice(self.metric_keys),
            "value": str(Decimal(self.dice.randrange(-100, 10_000)) / 100),
            "timestamp": text_of(self._moment()),
            "idempotency_key": key,
        }
        self.sent[key] = made["value"]
        return made

    def _moment(self) -> datetime:
        """Few enough that many are the same, over some days and a month's end."""
        return T0 + timedelta(hours=self.dice.randrange(-72, 72))

    def _alter(self, parcel: Parcel) -> Parcel:
        """The same keys with another value, if none of them has been altered before."""
        if any(each["idempotency_key"] in self.altered for each in parcel.events):
            return parcel
        events = [{**each, "value": str(Decimal(each["value"]) + 1)} for each in parcel.events]
        self.altered |= {each["idempotency_key"]: each["value"] for each in events}
        return Parcel(events)

    async def _deliver(self, parcel: Parcel) -> None:
        while not await self._try(parcel):  # noqa: ASYNC110 - who should acknowledge is being killed
            await asyncio.sleep(TRY_AGAIN_MS / 1000)

    async def _try(self, parcel: Parcel) -> bool:
        client = self.fleet.client(self.dice.choice(self.ports))
        try:
            if len(parcel.events) == 1:
                answer = await client.post(
                    "/v1/events", json=parcel.events[0], headers=bearer(self.key)
                )
            else:
                answer = await client.post(
                    "/v1/events/batch", json={"events": parcel.events}, headers=bearer(self.key)
                )
        except httpx.TransportError:
            self.interrupted += 1
            return False
        if answer.status_code in (429, 500, 503):
            assert answer.status_code != 500, answer.text
            self.refused += 1
            return False
        assert answer.status_code in (202, 207), answer.text
        assert answer.status_code == 202 or answer.json()["rejected"] == 0, answer.text
        self.acknowledged += 1
        return True


async def check_exactly_once(database: Database, feeder: Feeder) -> None:
    """Everything that was sent is stored once, by its first or second payload, and the other of
    the two is recorded; the rollups say what the events say; nothing waits or lies aside."""
    stored = await _values(database, "SELECT idempotency_key, value FROM events")
    second = await _values(
        database,
        "SELECT event ->> 'idempotency_key', (event ->> 'value')::numeric FROM event_conflicts",
    )
    expected = {key: Decimal(value) for key, value in feeder.sent.items()}
    other = {key: Decimal(value) for key, value in feeder.altered.items()}
    swapped = {key for key in other if stored.get(key) == other[key]}
    assert stored == {key: (other if key in swapped else expected)[key] for key in expected}
    assert second == {key: (expected if key in swapped else other)[key] for key in other}
    assert await fetch(
        database,
        "SELECT (SELECT count(*) FROM event_keys), (SELECT count(*) FROM event_inbox),"
        " (SELECT count(*) FROM event_quarantine)",
    ) == [(len(expected), 0, 0)]
    await check_rollups(database)


async def _values(database: Database, statement: str) -> dict[str, Decimal]:
    """By key; a key that comes twice is one too many."""
    rows = await fetch(database, statement)
    values = dict(rows)
    assert len(values) == len(rows)
    return values


async def check_rollups(database: Database) -> None:
    """Each day of the rollups is what its events say, and there is no other."""
    raw = await fetch(
        database,
        "SELECT customer_no, metric_no, (occurred_at AT TIME ZONE 'UTC')::date, count(*),"
        " sum(payload_hash), sum(value), max(value), min(value), max(landing_no)"
        " FROM events GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    )
    rolled = await fetch(
        database,
        "SELECT customer_no, metric_no, day, event_count, digest, value_sum, value_max, value_min,"
        " landing_no FROM usage_daily ORDER BY 1, 2, 3",
    )
    assert rolled == raw
    last = await fetch(
        database,
        "SELECT DISTINCT ON (1, 2, 3) e.customer_no, e.metric_no,"
        " (e.occurred_at AT TIME ZONE 'UTC')::date, e.value"
        " FROM events AS e JOIN metrics AS m USING (metric_no) WHERE m.aggregation = 'last'"
        " ORDER BY 1, 2, 3, e.occurred_at DESC, e.arrival_no DESC",
    )
    rolled_last = await fetch(
        database,
        "SELECT customer_no, metric_no, day, last_event[3] FROM usage_daily"
        " WHERE last_event IS NOT NULL ORDER BY 1, 2, 3",
    )
    assert rolled_last == last

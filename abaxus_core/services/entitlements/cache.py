"""Snapshots kept in Redis for a moment: a read cache, never a source of truth.

Why it is right, step by step, is docs/decisions/0019-the-entitlement-cache.md. In short: a value is
filled under a lease that was taken before its read of PostgreSQL began; a change, after its commit
and before its answer, deletes values and leases alike, so that nothing leads back to what was
before; and where Redis does not confirm that, the answer waits until the TTL has ended whatever
there may be. Redis never fails a caller: whatever goes wrong with it, PostgreSQL is read.
"""

import asyncio
import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from abaxus_core.domain.entitlement_documents import Snapshot
from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.elapsed import NS_PER_MS
from abaxus_core.kernel.redis_commands import RedisAway, Refused
from abaxus_core.kernel.redis_link import RedisLink, Told
from abaxus_core.services.entitlements.access import Asked, Snapshots
from abaxus_core.services.entitlements.kept_values import Values, written
from abaxus_core.services.entitlements.worth import Worth
from abaxus_core.services.request_times import NS_PER_SECOND
from abaxus_core.services.telemetry import Telemetry

MARGIN_MS: Final = 50
RETRY_MS: Final = 50
FILLS_MAX: Final = 64
VALUE_BYTES_MAX: Final = 1 << 16
LEASE: Final = b"lease:"
# The value keeps the life of its lease: it ends a TTL after the lease was taken.
FILL: Final = """\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1"""

_log = structlog.get_logger("abaxus.entitlements")


@dataclass(frozen=True, slots=True, kw_only=True)
class Redis:
    """Changes have a link of their own, so that they never wait behind reads.

    `space` begins every key; it keeps apart what several installations have in one Redis.
    """

    reads: RedisLink
    changes: RedisLink
    space: str
    ttl: timedelta


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to fill a key unless something changes, from one life of a server."""

    key: str
    token: bytes
    run_id: bytes


class RedisCache:
    """One mode's snapshots. `stored` reads what is not there."""

    def __init__(
        self, redis: Redis, mode: str, stored: Snapshots, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._redis = redis
        self._mode = mode
        self._prefix = f"{redis.space}:{mode}:entitlements:"
        self._stored = stored
        self._clock = clock
        self._telemetry = telemetry
        self._ttl_ms = redis.ttl // timedelta(milliseconds=1)
        self._values = Values()
        self._worth = Worth(self._ttl_ms * NS_PER_MS)
        self._filling: set[str] = set()
        self._fills: set[asyncio.Task[None]] = set()

    async def read(self, asked: Sequence[Asked]) -> Sequence[Snapshot | Exception | None]:
        if len(asked) == 1:
            return (await self._read(asked[0]),)
        return await asyncio.gather(*map(self._read, asked))

    async def changed(self, customer_ids: Collection[str], *, waiting: bool) -> None:
        ended_ns = time.monotonic_ns() + (self._ttl_ms + MARGIN_MS) * NS_PER_MS
        keys = [self._key(customer_id) for customer_id in sorted(customer_ids)]
        run_id = self._redis.changes.run_id
        if await self._deleted(keys, run_id):
            outcome = "confirmed"
        elif not waiting:
            outcome = "unconfirmed"
        else:
            outcome = await self._wait_out(keys, run_id, ended_ns)
        self._telemetry.entitlements_invalidated(self._mode, outcome)

    async def _read(self, asked: Asked) -> Snapshot | Exception | None:
        key = self._key(asked.customer_id)
        try:
            told = await self._redis.reads.ask("GET", key)
        except RedisAway:
            return await self._read_stored(asked, "away")
        if told.reply is None:
            await self._begin_fill(asked.customer_id, key)
            return await self._read_stored(asked, "miss")
        snapshot = self._kept(asked, told)
        if snapshot is None:
            return await self._read_stored(asked, "unusable")
        self._telemetry.entitlements_read(self._mode, "hit")
        return snapshot

    async def _read_stored(self, asked: Asked, why: str) -> Snapshot | Exception | None:
        self._telemetry.entitlements_read(self._mode, why)
        (found,) = await self._stored.read((asked,))
        return found

    def _kept(self, asked: Asked, told: Told) -> Snapshot | None:
        """What the cache has, if it may be believed and answers what is asked now."""
        if not isinstance(told.reply, bytes):
            return None
        return self._values.read(asked.customer_id, told.reply, told.run_id, self._clock())

    async def _begin_fill(self, customer_id: str, key: str) -> None:
        """Take the lease, if that is worth it and nobody here has it; who gets it fills beside.

        Who does not get it fills nothing and waits for nobody.
        """
        if customer_id in self._filling or len(self._filling) >= FILLS_MAX:
            return
        if not self._worth.missed(customer_id):
            return
        self._filling.add(customer_id)
        lease = None
        try:
            lease = await self._lease(key)
        finally:
            if lease is None:
                self._filling.discard(customer_id)
        if lease is not None:
            self._start(customer_id, lease)

    async def _lease(self, key: str) -> Lease | None:
        token = LEASE + secrets.token_bytes(16)
        try:
            told = await self._redis.reads.ask("SET", key, token, "NX", "PX", self._ttl_ms)
        except RedisAway:
            return None
        if isinstance(told.reply, Refused):
            self._telemetry.entitlements_filled(self._mode, "refused")
        return Lease(key, token, told.run_id) if told.reply == b"OK" else None

    def _start(self, customer_id: str, lease: Lease) -> None:
        """The caller's own read, which comes next, shares the fill's statement."""
        fill = asyncio.create_task(self._fill(customer_id, lease), name="entitlements-fill")
        self._fills.add(fill)

        def ended(fill: asyncio.Task[None]) -> None:
            self._fills.discard(fill)
            self._filling.discard(customer_id)
            if not fill.cancelled() and (error := fill.exception()) is not None:
                _log.warning("entitlements.not_filled", error=type(error).__name__)

        fill.add_done_callback(ended)

    async def _fill(self, customer_id: str, lease: Lease) -> None:
        (found,) = await self._stored.read((Asked(customer_id, None),))
        if isinstance(found, Snapshot):
            outcome = await self._filled(lease, written(found, lease.run_id))
            self._telemetry.entitlements_filled(self._mode, outcome)

    async def _filled(self, lease: Lease, value: bytes) -> str:
        if len(value) > VALUE_BYTES_MAX:
            return "too_large"
        try:
            told = await self._redis.reads.ask("EVAL", FILL, 1, lease.key, lease.token, value)
        except RedisAway:
            return "away"
        return {1: "stored", 0: "overtaken"}.get(_count(told), "refused")

    async def _deleted(self, keys: Sequence[str], run_id: bytes) -> bool:
        """Whether the server of this life says that nobody reads these any more."""
        try:
            told = await self._redis.changes.ask("DEL", *keys)
        except RedisAway:
            return False
        return told.run_id == run_id and _count(told) >= 0

    async def _wait_out(self, keys: Sequence[str], run_id: bytes, ended_ns: int) -> str:
        """Until the TTL has ended all that there was at the commit, or the server speaks again.

        Another server than before proves nothing: some may still read from the old one.
        """
        while (left_ns := ended_ns - time.monotonic_ns()) > 0:
            await asyncio.sleep(min(left_ns, RETRY_MS * NS_PER_MS) / NS_PER_SECOND)
            if await self._deleted(keys, run_id):
                return "confirmed"
        return "waited_out"

    def _key(self, customer_id: str) -> str:
        return self._prefix + customer_id


def _count(told: Told) -> int:
    """The number that a command replied; -1 where it was refused."""
    return told.reply if isinstance(told.reply, int) else -1

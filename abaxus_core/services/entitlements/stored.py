"""Snapshots from PostgreSQL: a kept document, proved current by the statement that brings usage.

As a rule one look answers. Where the document turns out to be another one, or a raw part of the
usage is unknown, it is fetched and looked again, so that all of a snapshot is of one instant.
"""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Final

import msgspec

from abaxus_core.domain.entitlement_documents import Document, Measure, Snapshot, measures
from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Connection, Database
from abaxus_core.kernel.kept import Kept
from abaxus_core.repositories.entitlement_documents import Seen, decoded
from abaxus_core.services.entitlements import documents
from abaxus_core.services.entitlements.access import Asked
from abaxus_core.services.entitlements.exact import exact
from abaxus_core.services.entitlements.lane import Lane, Look
from abaxus_core.services.entitlements.raw_parts import RawParts
from abaxus_core.services.entitlements.shared_plans import SharedPlans
from abaxus_core.services.entitlements.slow_lane import SlowLane
from abaxus_core.services.telemetry import Telemetry

# A cold start takes four: no document, the document, the usage, its raw parts.
ROUNDS_MAX: Final = 6
# In characters of JSON; an entry weighs at least the latter. Decoded, and with what has been asked
# of it worked out, a document takes some 3 KB, plan versions apart, which all documents share.
DOCUMENTS_KEPT_MAX: Final = 32 << 20
DOCUMENT_WEIGHT_MIN: Final = 1 << 10


class _Known(msgspec.Struct, frozen=True, gc=False):
    version: int
    document: Document


class _Nobody(Exception):
    """There is no such customer."""


class Stored:
    """Reads one mode's."""

    def __init__(self, database: Database, clock: Clock, telemetry: Telemetry) -> None:
        self._clock = clock
        self._lane = Lane(database, telemetry)
        self._slow_lane = SlowLane(database, telemetry)
        self._raw_parts = RawParts(database, self._slow_lane, clock)
        self._documents: Kept[str, _Known] = Kept(DOCUMENTS_KEPT_MAX)
        self._plans = SharedPlans()

    async def read(self, asked: Sequence[Asked]) -> Sequence[Snapshot | Exception | None]:
        if len(asked) == 1:
            return (await self._read(asked[0]),)
        return await asyncio.gather(*map(self._read, asked))

    async def _read(self, asked: Asked) -> Snapshot | Exception | None:
        try:
            for _ in range(ROUNDS_MAX):
                snapshot = await self._round(asked)
                if snapshot is not None:
                    return snapshot
            return await self._slow_lane.run(
                "exact", partial(self._exactly, asked), isolation="repeatable_read"
            )
        except _Nobody:
            return None
        except Exception as error:  # noqa: BLE001 - it reaches whoever asked
            return error

    async def _round(self, asked: Asked) -> Snapshot | None:
        """What one look says; None where something else had to be fetched first."""
        now = self._clock()
        known = self._documents.get(asked.customer_id)
        version = None if known is None else known.version
        needed = None if known is None else measures(known.document, asked.feature_keys, now)
        seen = await self._lane.look(Look(asked.customer_id, version, needed or ()))
        if seen[0].customer_no is None:
            raise _Nobody
        if known is None or seen[0].version != version:
            await self._learn(asked.customer_id, seen[0])
            return None
        if needed is None:
            await self._renew(asked.customer_id)
            return None
        used = self._used(needed, seen)
        if len(used) < len(needed):
            await self._read_parts(needed, seen)
            used = self._used(needed, seen)
        if len(used) < len(needed):
            return None
        return Snapshot(version=known.version, document=known.document, used=used, as_of=now)

    def _used(self, needed: Sequence[Measure], seen: Sequence[Seen]) -> dict[Measure, Decimal]:
        """The usage of those measures of which all raw parts are known."""
        used = {}
        for measure, found in zip(needed, seen, strict=False):
            value = self._raw_parts.used(measure, found)
            if value is not None:
                used[measure] = value
        return used

    async def _read_parts(self, needed: Sequence[Measure], seen: Sequence[Seen]) -> None:
        await asyncio.gather(*map(self._raw_parts.read, needed, seen))

    async def _learn(self, customer_id: str, seen: Seen) -> None:
        """Keep the document that was found, or have one made."""
        document = None if seen.document is None else decoded(seen.document)
        if document is None or seen.version is None or seen.document is None:
            await self._renew(customer_id)
            return
        weight = max(len(seen.document), DOCUMENT_WEIGHT_MIN)
        self._documents.put(
            customer_id, _Known(seen.version, self._plans.sharing(document)), weight
        )

    async def _renew(self, customer_id: str) -> None:
        """The next look finds out whether that was recent enough."""
        await self._slow_lane.share("document", customer_id, partial(self._renewed, customer_id))

    async def _renewed(self, customer_id: str, conn: Connection) -> None:
        await documents.renew(conn, (customer_id,), now=self._clock())

    async def _exactly(self, asked: Asked, conn: Connection) -> Snapshot | None:
        return await exact(conn, asked.customer_id, asked.feature_keys, now=self._clock())

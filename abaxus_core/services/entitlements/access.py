"""What checks are read from: PostgreSQL, or a cache before it, which changes are told to."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from abaxus_core.domain.entitlement_documents import Snapshot


class Asked(msgspec.Struct, frozen=True):
    """Which features of a customer; None: all that are granted."""

    customer_id: str
    feature_keys: tuple[str, ...] | None


class Snapshots(Protocol):
    async def read(self, asked: Sequence[Asked]) -> Sequence[Snapshot | Exception | None]:
        """One result per item, in order, that covers it; None where there is no such customer.

        What was committed before the call is in them.
        """


class Cache(Snapshots, Protocol):
    async def changed(self, customer_ids: Collection[str], *, waiting: bool) -> None:
        """Return when no check gives what was granted to these customers before.

        Unless `waiting`, only try: nobody was promised an answer.
        """


class Memory(Cache, Protocol):
    def at_hand(self, asked: Asked) -> Snapshot | None:
        """What covers it and may be given without asking anybody."""

    def has(self, customer_id: str) -> bool:
        """Whether something of the customer's is kept."""

    async def close(self) -> None: ...


class Entitlements:
    """One mode's. `stored` reads PostgreSQL anew; `kept` is what this process has read before, and
    `cache`, where there is one, what any process has: asked in turn, and told of changes."""

    def __init__(
        self, stored: Snapshots, *, kept: Memory | None = None, cache: Cache | None = None
    ) -> None:
        self._stored = stored
        self._kept = kept
        self._caches = [each for each in (kept, cache) if each is not None]
        self._nearest = cache or kept or stored

    async def snapshot(self, asked: Asked, *, fresh: bool = False) -> Snapshot | None:
        """What covers `asked`, from PostgreSQL when `fresh`; None: there is no such customer."""
        source = self._stored if fresh else self._nearest
        if not fresh and self._kept is not None:
            at_hand = self._kept.at_hand(asked)
            if at_hand is not None:
                return at_hand
            if self._kept.has(asked.customer_id):
                source = self._kept
        (found,) = await source.read((asked,))
        if isinstance(found, Exception):
            raise found
        return found

    async def changed(self, customer_ids: Collection[str], *, waiting: bool) -> None:
        """As all of them do."""
        told = (cache.changed(customer_ids, waiting=waiting) for cache in self._caches)
        await asyncio.gather(*told)

    async def close(self) -> None:
        if self._kept is not None:
            await self._kept.close()

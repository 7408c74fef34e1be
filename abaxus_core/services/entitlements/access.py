"""What checks are read from: PostgreSQL, or a cache before it, which changes are told to."""

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


class Entitlements:
    """One mode's. `stored` reads PostgreSQL anew, `kept` what it has read before where that still
    holds; `cache`, where there is one, is asked first, and told of changes."""

    def __init__(
        self, stored: Snapshots, *, kept: Snapshots | None = None, cache: Cache | None = None
    ) -> None:
        self._stored = stored
        self._cache = cache
        self._nearest = cache or kept or stored

    async def snapshot(self, asked: Asked, *, fresh: bool = False) -> Snapshot | None:
        """What covers `asked`, from PostgreSQL when `fresh`; None: there is no such customer."""
        (found,) = await (self._stored if fresh else self._nearest).read((asked,))
        if isinstance(found, Exception):
            raise found
        return found

    async def changed(self, customer_ids: Collection[str], *, waiting: bool) -> None:
        """As the cache's; where there is none, every check hears of what is committed."""
        if self._cache is not None:
            await self._cache.changed(customer_ids, waiting=waiting)

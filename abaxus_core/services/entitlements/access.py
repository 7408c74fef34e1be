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
    """One mode's: `stored` reads PostgreSQL, `cache` answers before it where there is one."""

    def __init__(self, stored: Snapshots, cache: Cache | None = None) -> None:
        self._stored = stored
        self._cache = cache

    @property
    def has_cache(self) -> bool:
        """Whether checks are given the same snapshot again."""
        return self._cache is not None

    async def snapshot(self, asked: Asked, *, fresh: bool = False) -> Snapshot | None:
        """What covers `asked`, from PostgreSQL when `fresh`; None: there is no such customer."""
        source = self._stored if fresh or self._cache is None else self._cache
        (found,) = await source.read((asked,))
        if isinstance(found, Exception):
            raise found
        return found

    async def changed(self, customer_ids: Collection[str], *, waiting: bool) -> None:
        """As the cache's; where there is none, every check reads what is committed."""
        if self._cache is not None:
            await self._cache.changed(customer_ids, waiting=waiting)

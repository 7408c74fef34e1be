"""What events name, by the callers' ids: the numbers of customers and subscriptions, the metrics.

From memory where it is known, else from the database, so that what was made a moment ago on
another replica is found. A number never changes, so it is kept without further ado; a metric may
be switched off, so it is forgotten when the catalogue changes.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

import msgspec

from abaxus_core.domain.events import Event
from abaxus_core.domain.metrics import Metric
from abaxus_core.kernel.cache import Cache
from abaxus_core.kernel.database import Connection, Database
from abaxus_core.repositories import inbox, metrics
from abaxus_core.services.topics import CATALOGUE

NUMBERS_MAX: Final = 50_000
METRICS_MAX: Final = 5_000


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """What of it exists. `subscriptions` maps to the number of their customer."""

    customers: Mapping[str, int]
    metrics: Mapping[str, Metric]
    subscriptions: Mapping[str, int]


class Names:
    """Of one mode, for the life of the process; bounded."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._customers = _Numbers(inbox.known_customers)
        self._subscriptions = _Numbers(inbox.known_subscriptions)
        self._metrics: Cache[Metric] = Cache(
            database.listener, database.channel(CATALOGUE), entries_max=METRICS_MAX
        )

    async def find(self, events: Sequence[Event]) -> Named:
        """Look up everything that the events name, all at once."""
        owners = {event.subscription_id for event in events if event.subscription_id is not None}
        return Named(
            customers=await self._customers.find(
                self._database, {event.customer_id for event in events}
            ),
            metrics=await self._find_metrics({event.metric_key for event in events}),
            subscriptions=await self._subscriptions.find(self._database, owners),
        )

    async def _find_metrics(self, keys: Iterable[str]) -> dict[str, Metric]:
        found = {}
        for key in keys:
            metric = await self._metrics.get(key, self._loader(key))
            if metric is not None:
                found[key] = metric
        return found

    def _loader(self, key: str) -> Callable[[], Awaitable[Metric | None]]:
        async def load() -> Metric | None:
            async with self._database.connection() as conn:
                return await metrics.get(conn, key)

        return load


class _Numbers:
    """At most NUMBERS_MAX numbers by id; those learnt first go first."""

    def __init__(
        self, load: Callable[[Connection, Collection[str]], Awaitable[dict[str, int]]]
    ) -> None:
        self._load = load
        self._known: dict[str, int] = {}

    async def find(self, database: Database, ids: Collection[str]) -> dict[str, int]:
        found = {each: self._known[each] for each in ids if each in self._known}
        missing = [each for each in ids if each not in found]
        if missing:
            async with database.connection() as conn:
                loaded = await self._load(conn, missing)
            found |= loaded
            self._keep(loaded)
        return found

    def _keep(self, loaded: Mapping[str, int]) -> None:
        self._known |= loaded
        excess = max(0, len(self._known) - NUMBERS_MAX)
        for each in list(islice(self._known, excess)):
            del self._known[each]

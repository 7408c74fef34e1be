"""An API process that is patient with its cache, and where told lacks one of its precautions, or
has nothing at hand (`AT_HAND=nothing`), so that the cache is asked for each check.

Patient, since a machine that runs tests is often slower than the milliseconds that Redis is given:
then the cache would hardly be asked, and there would be nothing to find. What tests must notice:
without PRECAUTION, if it is set, a check shows an old grant.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from abaxus_core import processes
from abaxus_core.repositories.idempotency import Known, Request
from abaxus_core.services import idempotency
from abaxus_core.services.entitlements import cache, opening
from abaxus_core.services.entitlements.access import Asked
from abaxus_core.services.entitlements.cache import RedisCache
from abaxus_core.services.entitlements.keeper import Keeper
from abaxus_core.services.entitlements.kept_snapshots import KeptSnapshots
from abaxus_core.services.entitlements.kept_values import VALUE, Values
from abaxus_core.services.work import Work

Precaution = Literal["invalidation", "waiting", "lease", "life", "replay", "keeping"]
PATIENCE_MS: Final = 100
PLAIN_FILL: Final = "redis.call('SET', KEYS[1], ARGV[2], 'PX', 1000) return 1"


async def serve_api(environ: Mapping[str, str]) -> None:
    """What `abaxus api` runs."""
    opening.READ_TIMEOUT_MS = opening.CHANGE_TIMEOUT_MS = PATIENCE_MS
    if environ.get("AT_HAND") == "nothing":
        _has_nothing_at_hand()
    if "PRECAUTION" in environ:
        _WITHOUT[environ["PRECAUTION"]]()
    await processes.serve_api(environ)


def _has_nothing_at_hand() -> None:
    def at_hand(_self: KeptSnapshots, _asked: Asked) -> None:
        """Nothing."""

    def has(_self: KeptSnapshots, _customer_id: str) -> bool:
        return False

    KeptSnapshots.at_hand, KeptSnapshots.has = at_hand, has


def _without_invalidation() -> None:
    async def changed(self: RedisCache, customer_ids: Collection[str], *, waiting: bool) -> None:
        """Nobody tells the cache."""

    RedisCache.changed = changed


def _without_waiting() -> None:
    async def wait_out(self: RedisCache, *_: object) -> str:
        return "waited_out"

    RedisCache._wait_out = wait_out


def _without_lease() -> None:
    cache.FILL = PLAIN_FILL


def _without_life() -> None:
    read = Values.read

    def credulous(self: Values, customer_id: str, raw: bytes, run_id: bytes, now: datetime) -> Any:
        """Whatever server it was written to."""
        return read(self, customer_id, raw, raw[len(VALUE) : len(VALUE) + len(run_id)], now)

    Values.read = credulous


def _without_replay() -> None:
    look_up = idempotency._look_up

    async def forgetful(work: Work, request: Request) -> Known | None:
        """The reply that was kept, and not whom it concerned."""
        known = await look_up(work, request)
        return None if known is None else msgspec.structs.replace(known, entitled=())

    idempotency._look_up = forgetful


def _without_keeping() -> None:
    async def wait_out(self: Keeper, changed_ns: int) -> None:
        """Other processes may give what they have kept."""

    Keeper.wait_out = wait_out


_WITHOUT: Final[Mapping[Precaution, Callable[[], None]]] = {
    "invalidation": _without_invalidation,
    "waiting": _without_waiting,
    "lease": _without_lease,
    "life": _without_life,
    "replay": _without_replay,
    "keeping": _without_keeping,
}

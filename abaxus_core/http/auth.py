"""Who asks: from the Authorization header to a mode and what the key may do there.

A key is looked up once and remembered in this process, as it was shown: it comes with every request
anyway, and a digest for each would cost more than all else here. A change of any key is notified;
besides, no entry is trusted beyond KNOWN_FOR_NS, so that a revoked key ends soon even where the
notification is lost. Using a key writes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from abaxus_core.errors import Forbidden, Unauthorized
from abaxus_core.kernel.cache import Cache
from abaxus_core.plugin.settings import Secret
from abaxus_core.services import api_keys
from abaxus_core.services.work import Context

KNOWN_FOR_NS = 1_000_000_000
KEYS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """A key that was let in: its mode's context, its id, the scopes it covers."""

    context: Context
    key_id: str
    covers: frozenset[str]

    def check_scope(self, scope: str) -> None:
        """Raise Forbidden unless the key covers `scope`."""
        check_covered(self.covers, scope)


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    until_ns: int


class Gate:
    """One per process. `contexts` by mode: a key's own prefix says in which one it is looked up."""

    def __init__(
        self,
        contexts: Mapping[str, Context],
        master_key: Secret,
        monotonic_ns: Callable[[], int],
    ) -> None:
        self._contexts = contexts
        self._master_key = master_key
        self._monotonic_ns = monotonic_ns
        self._known = {
            mode: Cache[_Known](
                context.database.listener,
                context.database.channel(api_keys.CHANGED),
                entries_max=KEYS_MAX,
            )
            for mode, context in contexts.items()
        }

    async def admit(self, authorization: str) -> Caller:
        """The caller behind the header. Raises Unauthorized, the same for every wrong key."""
        scheme, _, shown = authorization.partition(" ")
        shown = shown.strip()
        if scheme.lower() != "bearer":
            raise _unknown(shown=bool(authorization))
        for cache in self._known.values():
            known = cache.known(shown)
            if known is not None and known.until_ns >= self._monotonic_ns():
                return known.caller
        return await self._look_up(shown)

    async def _look_up(self, shown: str) -> Caller:
        mode = api_keys.mode_of(shown)
        if mode is None:
            raise _unknown(shown=True)
        cache = self._known[mode]
        if cache.known(shown) is not None:
            cache.invalidate(shown)
        known = await cache.get(shown, partial(self._load, mode, shown))
        if known is None:
            raise _unknown(shown=True)
        return known.caller

    async def _load(self, mode: str, shown: str) -> _Known | None:
        until_ns = self._monotonic_ns() + KNOWN_FOR_NS
        context = self._contexts[mode]
        async with context.database.connection() as conn:
            bearer = await api_keys.find(conn, api_keys.digest(shown, self._master_key))
        if bearer is None or bearer.mode != mode:
            return None
        covers = frozenset[str]().union(*(api_keys.COVERS[scope] for scope in bearer.scopes))
        return _Known(Caller(context, bearer.key_id, covers), until_ns)


def check_covered(covers: frozenset[str], scope: str) -> None:
    """Raise Forbidden unless `scope` is among what a key covers."""
    if scope not in covers:
        raise Forbidden(f"this key lacks the scope {api_keys.scope_for(scope)}")


def _unknown(*, shown: bool) -> Unauthorized:
    if shown:
        return Unauthorized("the API key is not known")
    return Unauthorized("an API key is needed: Authorization: Bearer <key>")

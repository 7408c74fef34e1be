"""A bounded cache of what the database holds, kept honest by notifications.

While its channel is not being listened to, everything is loaded anew: better slow than stale. A
value loaded while an invalidation arrived is handed out but not kept, because the load may have
read what the invalidation is about. What is absent is never remembered, so that what was made a
moment ago on another replica is found.
"""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from abaxus_core.kernel.notifications import Listener

V = TypeVar("V")


class Cache(Generic[V]):
    """At most `entries_max` values by text key; those used longest ago go first.

    The payload of a notification on `channel` is the key that changed; an empty one means all.
    """

    def __init__(self, listener: Listener, channel: str, *, entries_max: int) -> None:
        self._listener = listener
        self._channel = channel
        self._entries_max = entries_max
        self._entries: dict[str, V] = {}
        self._generation = 0
        listener.subscribe(channel, self.invalidate)

    def known(self, key: str) -> V | None:
        """The value of `key`, while it is here and would be heard of if it changed."""
        if key not in self._entries or not self._listener.connected(self._channel):
            return None
        value = self._entries[key] = self._entries.pop(key)
        return value

    async def get(self, key: str, load: Callable[[], Awaitable[V | None]]) -> V | None:
        """The value of `key`, from here or from `load`; None where `load` finds none."""
        if not self._listener.connected(self._channel):
            return await load()
        if (value := self.known(key)) is not None:
            return value
        generation = self._generation
        loaded = await load()
        if loaded is not None and generation == self._generation:
            self._keep(key, loaded)
        return loaded

    def invalidate(self, key: str) -> None:
        """Forget `key`, or everything if it is empty, and what is being loaded now."""
        self._generation += 1
        if key:
            self._entries.pop(key, None)
        else:
            self._entries.clear()

    def close(self) -> None:
        self._listener.unsubscribe(self._channel, self.invalidate)

    def _keep(self, key: str, value: V) -> None:
        if self._listener.connected(self._channel):
            self._entries[key] = value
            if len(self._entries) > self._entries_max:
                del self._entries[next(iter(self._entries))]

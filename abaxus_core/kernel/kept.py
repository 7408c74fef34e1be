"""What was used last, within a bound: for what can be had again."""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """Values by key that weigh at most `weight_max` together; those used longest ago go first."""

    def __init__(self, weight_max: int) -> None:
        self._weight_max = weight_max
        self._weight = 0
        self._entries: dict[K, tuple[V, int]] = {}

    def get(self, key: K) -> V | None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        self._entries[key] = entry
        return entry[0]

    def peek(self, key: K) -> V | None:
        """As `get`, and no use of it."""
        entry = self._entries.get(key)
        return None if entry is None else entry[0]

    def put(self, key: K, value: V, weight: int = 1) -> None:
        """Keep `value` in place of what was there; not at all if it alone is too heavy."""
        self.forget(key)
        if weight > self._weight_max:
            return
        self._entries[key] = (value, weight)
        self._weight += weight
        while self._weight > self._weight_max:
            self.forget(next(iter(self._entries)))

    def forget(self, key: K) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._weight -= entry[1]

    def forget_all(self) -> None:
        self._entries.clear()
        self._weight = 0

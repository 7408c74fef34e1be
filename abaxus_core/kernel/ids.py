"""Ids: a prefix and a lower-case ULID, ascending within a process; and random UUIDs.

What a prefix stands for is the caller's business.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from ulid import ULID

from abaxus_core.kernel.clock import Clock, system_clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ENTROPY_BITS = 80
_ENTROPY_BYTES = 10
_UUID_BYTES = 16


class Ids:
    """A source of ids that sort in the order they were made, even when the clock is set back."""

    def __init__(
        self, clock: Clock = system_clock, entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._clock = clock
        self._entropy = entropy
        self._last = 0

    def new(self, prefix: str) -> str:
        """A new id such as `met_01k9rg2v3w4x5y6z7a8b9c0d1e`."""
        milliseconds = (self._clock() - _EPOCH) // _MILLISECOND
        randomness = int.from_bytes(self._entropy(_ENTROPY_BYTES), "big")
        value = (milliseconds << _ENTROPY_BITS) | randomness
        if value >> _ENTROPY_BITS <= self._last >> _ENTROPY_BITS:
            value = self._last + 1
        self._last = value
        return f"{prefix}_{str(ULID.from_int(value)).lower()}"

    def uuid4(self) -> UUID:
        """A random UUID (RFC 9562, version 4)."""
        return UUID(bytes=self._entropy(_UUID_BYTES), version=4)

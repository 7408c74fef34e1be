"""What time it is: an argument everywhere, read from the machine only here.

A plugin needs it where its service's protocol does, as signatures with an expiry do.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

Clock: TypeAlias = Callable[[], datetime]


def system_clock() -> datetime:
    """The machine's instant, aware and in UTC."""
    return datetime.now(UTC)

"""The event loop of every process of ours: uvloop, which is the same as asyncio's but faster."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

if sys.platform == "win32":
    from asyncio import new_event_loop
else:
    from uvloop import new_event_loop

from abaxus_core.kernel import collector

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a loop of its own, as asyncio.run does."""
    collector.look_rarely()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)

"""One thread of the process in which documents are made, one at a time, with a bounded queue.

Memory is bounded by that: one document is made and WAITING_MAX more are waited for. The event loop
only waits.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Self, TypeVar

from abaxus_core.errors import RateLimited

T = TypeVar("T")

WAITING_MAX: Final = 16
RETRY_AFTER_S: Final = 2


class Press:
    """One per process, to be used as a context: what waits at its end is given up."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="press")
        self._asked = 0

    async def run(self, make: Callable[[], T]) -> T:
        """Return what `make` returns, when its turn has come. Raises DOCUMENTS_BUSY.

        Who stops waiting takes their turn out of the queue, unless it has begun.
        """
        if self._asked > WAITING_MAX:
            raise RateLimited(
                "more documents are asked for than can be made at once; ask again",
                code="DOCUMENTS_BUSY",
                retry_after_s=RETRY_AFTER_S,
            )
        self._asked += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, make)
        finally:
            self._asked -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._thread.shutdown(cancel_futures=True)

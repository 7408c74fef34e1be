"""A connection kept for one use, which never waits for the pool.

Opened when it is first needed. Whatever goes wrong on it costs it: whoever comes next is given a
fresh one, so that a slow or broken server is never asked twice on the same wire.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from asyncpg.exceptions import (
    ConnectionDoesNotExistError,
    DataError,
    InterfaceError,
    InternalClientError,
)

from abaxus_core.kernel.notifications import CONNECTION_FAULTS
from abaxus_core.kernel.sql import Connection

CLOSE_TIMEOUT_S = 1


class Pinned:
    """One user at a time."""

    def __init__(self, connect: Callable[[], Awaitable[Any]]) -> None:
        self._connect = connect
        self._conn: Any = None
        self._closed = False

    @asynccontextmanager
    async def connection(self, timeout_s: int) -> AsyncIterator[Connection]:
        """The connection, for at most so long, opening it included.

        Raises TimeoutError, and ConnectionDoesNotExistError however asyncpg tells of a lost one.
        """
        try:
            async with asyncio.timeout(timeout_s):
                yield await self._opened()
        except BaseException as error:
            self._drop()
            if _tells_of_a_loss(error):
                raise ConnectionDoesNotExistError(str(error)) from error
            raise

    async def _opened(self) -> Any:
        if self._closed:
            raise ConnectionDoesNotExistError("closed for good")
        if self._conn is None or self._conn.is_closed():
            self._conn = await self._connect()
        return self._conn

    async def close(self) -> None:
        """For good."""
        self._closed = True
        conn, self._conn = self._conn, None
        if conn is None:
            return
        try:
            await conn.close(timeout=CLOSE_TIMEOUT_S)
        except CONNECTION_FAULTS:
            conn.terminate()

    def _drop(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            with suppress(*CONNECTION_FAULTS):
                conn.terminate()


def _tells_of_a_loss(error: BaseException) -> bool:
    """What a caller did wrong comes as an InterfaceError too, of the kind DataError."""
    lost = isinstance(error, (InterfaceError, InternalClientError))
    return lost and not isinstance(error, DataError)

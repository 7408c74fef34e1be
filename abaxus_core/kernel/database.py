"""PostgreSQL: a pool per mode, transactions that retry, and wake-ups after the commit.

A mode is a schema on the search path (docs/decisions/0001-test-mode-is-a-schema.md), so the same
statements serve both and neither can reach the other. Statements live in `sql/`, see `sql.py`.
Nobody may leave session state behind on a pooled connection (SET LOCAL, ON COMMIT DROP): giving
one back costs no round trip, because nothing is reset.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec
import structlog
from asyncpg.connection import connect as asyncpg_connect
from asyncpg.exceptions import (
    ConnectionDoesNotExistError,
    DataError,
    DeadlockDetectedError,
    InterfaceError,
    InternalClientError,
    SerializationError,
)
from asyncpg.pool import create_pool

from abaxus_core.errors import ConfigurationError, InvariantBroken
from abaxus_core.kernel.first_contact import first_contact
from abaxus_core.kernel.notifications import Listener, Notifier, notify_with_commit
from abaxus_core.kernel.pinned import Pinned
from abaxus_core.kernel.sql import Connection as Connection
from abaxus_core.kernel.sql import Record as Record

T = TypeVar("T")

MODES = ("live", "test")
TRANSACTION_ATTEMPTS_MAX = 10
RETRY_DELAY_MIN_MS = 2
RETRY_DELAY_MAX_MS = 250
DEDICATED_CONNECTIONS = 6
TEST_MODE_SHARE = 5
CONNECTIONS_MIN = 8
STATEMENT_TIMEOUT_S = 300
IDLE_IN_TRANSACTION_TIMEOUT_S = 60
PINNED_STATEMENT_TIMEOUT_S = 5
CLOSE_TIMEOUT_S = 3

_log = structlog.get_logger("abaxus.database")
_wakes: ContextVar["_Wakes | None"] = ContextVar("abaxus_wakes", default=None)


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to connect. `connections_max` bounds all: both modes, what they pin, listener, notifier.

    `ssl_mode` is disable, require, verify-ca or verify-full, and yields to an sslmode in the DSN.
    `statement_cache_size` must be 0 behind a pooler in transaction mode.
    """

    connections_max: int = 25
    idle_timeout_s: int = 600
    connect_timeout_s: int = 10
    ssl_mode: str = "require"
    statement_cache_size: int = 512
    application_name: str = "abaxus"


class Database:
    """One mode: its schema, its pool. Made by `open_databases`.

    `pinned` stands beside the pool, for short reads that many wait for; so does `following`, for
    what is asked again and again as a whole.
    """

    def __init__(
        self,
        mode: str,
        pool: Any,
        *,
        pinned: Pinned,
        following: Pinned,
        listener: Listener,
        notifier: Notifier,
    ) -> None:
        self.mode = mode
        self.schema = schema_of(mode)
        self.pinned = pinned
        self.following = following
        self.listener = listener
        self._pool = pool
        self._notifier = notifier

    async def transaction(
        self, work: Callable[[Connection], Awaitable[T]], *, isolation: str = "read_committed"
    ) -> T:
        """Run `work` in a transaction, commit, wake who waits; its result is `work`'s.

        `isolation` is read_committed, repeatable_read or serializable. Serialization failures and
        deadlocks run `work` again from the start, TRANSACTION_ATTEMPTS_MAX times in all; so does a
        connection found dead before `work` began. Any other error rolls back and is raised.
        """
        for attempt in range(1, TRANSACTION_ATTEMPTS_MAX):
            begun: list[bool] = []
            try:
                return await self._attempt(work, isolation, begun)
            except (SerializationError, DeadlockDetectedError) as error:
                _log.info("transaction.retried", attempt=attempt, error=type(error).__name__)
            except ConnectionDoesNotExistError:
                if begun:
                    raise
            await asyncio.sleep(_retry_delay_ms(attempt) / 1000)
        return await self._attempt(work, isolation, [])

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """A connection on which every statement commits by itself."""
        return self._autocommit()

    def wake(self, topic: str, payload: str = "") -> None:
        """Notify `topic` of this mode now. Inside a transaction use `wake_after_commit`."""
        self._notifier.notify(self.channel(topic), payload)

    def channel(self, topic: str) -> str:
        return f"{self.schema}.{topic}"

    async def _attempt(
        self, work: Callable[[Connection], Awaitable[T]], isolation: str, begun: list[bool]
    ) -> T:
        wakes = _Wakes(self)
        async with self._borrowed() as conn:
            token = _wakes.set(wakes)
            try:
                async with conn.transaction(isolation=isolation):
                    begun.append(True)
                    result = await work(conn)
            finally:
                _wakes.reset(token)
        wakes.committed()
        return result

    @asynccontextmanager
    async def _autocommit(self) -> AsyncIterator[Connection]:
        wakes = _Wakes(self)
        wakes.committed()
        before = _wakes.get()
        async with self._borrowed() as conn:
            _wakes.set(wakes)
            try:
                yield conn
            finally:
                _wakes.set(before)

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[Any]:
        """A pooled connection; a broken one is not given back to be borrowed again.

        asyncpg tells of a server that hung up between two statements by an InternalClientError,
        and then believes for ever that an operation is in progress.
        """
        async with self._pool.acquire() as conn:
            try:
                yield conn
            except DataError:
                raise
            except (InterfaceError, InternalClientError) as error:
                with suppress(InterfaceError):
                    conn.terminate()
                raise ConnectionDoesNotExistError(str(error)) from error


class Databases(msgspec.Struct, frozen=True, kw_only=True):
    """Both modes of one PostgreSQL database, and the listener they share."""

    live: Database
    test: Database
    listener: Listener

    def of(self, mode: str) -> Database:
        return {"live": self.live, "test": self.test}[mode]


class _Wakes:
    """The wake-ups of one transaction: kept until it has committed, then passed on at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[tuple[str, str], None] | None = {}

    def add(self, topic: str, payload: str) -> None:
        if self._waiting is None:
            self._database.wake(topic, payload)
        else:
            self._waiting[topic, payload] = None

    def committed(self) -> None:
        waiting, self._waiting = self._waiting or {}, None
        for topic, payload in waiting:
            self._database.wake(topic, payload)


def wake_after_commit(topic: str, payload: str = "") -> None:
    """Notify "<schema>.<topic>" once the transaction around this call has committed.

    Coalesced; never sent if it rolls back; inside `Database.connection()` it is sent at once.
    """
    wakes = _wakes.get()
    if wakes is None:
        raise InvariantBroken(f"nobody is told of {topic!r}: there is no Database around this call")
    wakes.add(topic, payload)


async def wake_with_commit(conn: Connection, topic: str, payload: str = "") -> None:
    """As `wake_after_commit`, and told by the commit itself: heard though this process dies of it.

    For what changes rarely and is remembered elsewhere; such commits queue up one by one.
    """
    wake_after_commit(topic, payload)
    await notify_with_commit(conn, topic, payload)


def schema_of(mode: str) -> str:
    """The schema that holds a mode's tables: abaxus_live, abaxus_test."""
    if mode not in MODES:
        raise InvariantBroken(f"no such mode: {mode}")
    return f"abaxus_{mode}"


async def connect(dsn: str, settings: PoolSettings, *, schema: str = "abaxus") -> Any:
    """A connection outside the pools, for a life of its own. Raises as `first_contact` does."""
    with first_contact():
        return await _connect(dsn, _arguments(dsn, settings, schema))


@asynccontextmanager
async def open_databases(dsn: str, settings: PoolSettings) -> AsyncIterator[Databases]:
    """Both modes, connecting as need arises; closed within CLOSE_TIMEOUT_S on the way out."""
    live_max, test_max = _split(settings.connections_max)

    async def dedicated() -> Any:
        return await _connect(dsn, _arguments(dsn, settings, "abaxus", synchronous_commit="off"))

    async with AsyncExitStack() as stack:
        listener = Listener(dedicated)
        stack.push_async_callback(listener.close)
        notifier = Notifier(dedicated, listener)
        stack.push_async_callback(notifier.close)
        modes = []
        for mode, connections_max in (("live", live_max), ("test", test_max)):
            pool = await _open_pool(dsn, settings, schema_of(mode), connections_max)
            stack.push_async_callback(_close_pool, pool)
            pinned, following = (
                Pinned(partial(_connect_pinned, dsn, settings, schema_of(mode))) for _ in range(2)
            )
            stack.push_async_callback(pinned.close)
            stack.push_async_callback(following.close)
            modes.append(
                Database(
                    mode,
                    pool,
                    pinned=pinned,
                    following=following,
                    listener=listener,
                    notifier=notifier,
                )
            )
        yield Databases(live=modes[0], test=modes[1], listener=listener)


def _split(connections_max: int) -> tuple[int, int]:
    """The bounds of the two pools: test mode gets a fifth, live mode the rest.

    >>> _split(25)
    (16, 3)
    """
    if connections_max < CONNECTIONS_MIN:
        raise ConfigurationError([f"DATABASE_MAX_CONNECTIONS must be {CONNECTIONS_MIN} or more"])
    pooled = connections_max - DEDICATED_CONNECTIONS
    test_max = max(1, pooled // TEST_MODE_SHARE)
    return pooled - test_max, test_max


async def _open_pool(dsn: str, settings: PoolSettings, schema: str, connections_max: int) -> Any:
    return await create_pool(  # type: ignore[no-untyped-call]
        dsn,
        min_size=0,
        max_size=connections_max,
        max_inactive_connection_lifetime=settings.idle_timeout_s,
        reset=_reset_nothing,
        **_arguments(dsn, settings, schema),
    )


async def _connect_pinned(dsn: str, settings: PoolSettings, schema: str) -> Any:
    """Few statements run there, thousands of times a second: they are planned once, and go by an
    index even where a table was small at that time."""
    arguments = _arguments(
        dsn,
        settings,
        schema,
        plan_cache_mode="force_generic_plan",
        enable_seqscan="off",
        enable_bitmapscan="off",
        statement_timeout=f"{PINNED_STATEMENT_TIMEOUT_S}s",
    )
    return await _connect(dsn, arguments)


async def _connect(dsn: str, arguments: dict[str, Any]) -> Any:
    return await asyncpg_connect(dsn, **arguments)  # type: ignore[no-untyped-call]


async def _reset_nothing(_conn: object) -> None:
    """asyncpg has rolled back what was open; more than that nobody may leave behind."""


async def _close_pool(pool: Any) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await pool.close()
    except TimeoutError:
        pool.terminate()


def _arguments(
    dsn: str, settings: PoolSettings, schema: str, **server_settings: str
) -> dict[str, Any]:
    in_dsn = "sslmode" in parse_qs(urlsplit(dsn).query)
    return {
        "ssl": None if in_dsn else settings.ssl_mode,
        "timeout": settings.connect_timeout_s,
        "command_timeout": STATEMENT_TIMEOUT_S,
        "statement_cache_size": settings.statement_cache_size,
        "server_settings": {
            "search_path": schema,
            "timezone": "UTC",
            "application_name": settings.application_name,
            "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_TIMEOUT_S}s",
            "jit": "off",
            **server_settings,
        },
    }


def _retry_delay_ms(attempt: int) -> int:
    """Doubles from RETRY_DELAY_MIN_MS, half of it at random, so that rivals part ways."""
    ceiling = min(RETRY_DELAY_MIN_MS << attempt, RETRY_DELAY_MAX_MS)
    return ceiling // 2 + secrets.randbelow(ceiling // 2 + 1)

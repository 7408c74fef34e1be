"""LISTEN and NOTIFY, each on a connection of its own: the Listener hears, the Notifier tells.

A channel is "<schema>.<topic>". A payload narrows what changed; the empty one means "anything may
have". Notifications are hints: whoever relies on one also looks by itself from time to time
(a NOTIFY inside each writing transaction cost two thirds of the writes when measured, because
such commits queue up one behind the other; so the Notifier tells after the commit, and what waits
meanwhile is told once; `notify_with_commit` is for the rare change that must be heard even if its
maker dies).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias

import structlog
from asyncpg.exceptions import (
    InsufficientResourcesError,
    InterfaceError,
    InternalClientError,
    OperatorInterventionError,
    PostgresConnectionError,
    ReadOnlySQLTransactionError,
    TransactionRollbackError,
)

from abaxus_core.kernel.sql import queries

_sql = queries("notifications")
_notify = _sql.exec("notify")
_heartbeat = _sql.one("heartbeat")
notify_with_commit = _sql.exec("notify_with_commit")
_log = structlog.get_logger("abaxus.notifications")

HEARTBEAT_MS = 5_000
HEARTBEAT_TIMEOUT_MS = 2_000
RECONNECT_MIN_MS = 50
RECONNECT_MAX_MS = 5_000
NOTIFY_INTERVAL_MS = 5
PAYLOADS_MAX = 1_000
CLOSE_TIMEOUT_MS = 1_000

Connect: TypeAlias = Callable[[], Awaitable[Any]]
Callback: TypeAlias = Callable[[str], None]

# What passes by itself: a cut wire, a restart, a failover, a server that is full.
CONNECTION_FAULTS = (
    OSError,
    TimeoutError,
    InterfaceError,
    InternalClientError,
    PostgresConnectionError,
    OperatorInterventionError,
    InsufficientResourcesError,
    ReadOnlySQLTransactionError,
    TransactionRollbackError,
)


class Listener:
    """Calls back on notifications, from this process and from others.

    Connects when first asked to listen and reconnects for ever. After each (re)connection every
    callback is called with the empty payload, because anything may have been missed. `connected`
    is true only while the last heartbeat was answered: HEARTBEAT_MS + HEARTBEAT_TIMEOUT_MS bound
    how long a silent cut goes unnoticed.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._callbacks: dict[str, list[Callback]] = {}
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._listening: set[str] = set()
        self._lost = asyncio.Event()

    def connected(self, channel: str) -> bool:
        """True while a notification on `channel` would be heard."""
        return channel in self._listening and not self._lost.is_set()

    def subscribe(self, channel: str, callback: Callback) -> None:
        """Call `callback(payload)` from now on; it must be quick and must not raise."""
        self._callbacks.setdefault(channel, []).append(callback)
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="listener")

    def unsubscribe(self, channel: str, callback: Callback) -> None:
        self._callbacks[channel].remove(callback)

    def deliver(self, channel: str, payload: str) -> None:
        """Tell this process's subscribers, without the way through the database."""
        for callback in tuple(self._callbacks.get(channel, ())):
            callback(payload)

    async def close(self) -> None:
        await _stop(self._task)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._listen_until_lost()
                failures = 0
            except CONNECTION_FAULTS as error:
                failures += 1
                _log.warning("listener.disconnected", error=type(error).__name__)
            await asyncio.sleep(_reconnect_delay_ms(failures) / 1000)

    async def _listen_until_lost(self) -> None:
        conn = await self._connect()
        try:
            self._lost.clear()
            conn.add_termination_listener(self._on_termination)
            while not conn.is_closed():
                await self._listen_to_new_channels(conn)
                await self._wait_for_change_or_heartbeat(conn)
        finally:
            self._lost.set()
            self._listening.clear()
            await _close(conn)

    async def _listen_to_new_channels(self, conn: Any) -> None:
        self._changed.clear()
        for channel in sorted(self._callbacks.keys() - self._listening):
            await conn.add_listener(channel, self._on_notification)
            self._listening.add(channel)
            self.deliver(channel, "")

    async def _wait_for_change_or_heartbeat(self, conn: Any) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_MS / 1000):
                await self._changed.wait()
                return
        async with asyncio.timeout(HEARTBEAT_TIMEOUT_MS / 1000):
            await _heartbeat(conn)

    def _on_notification(self, _conn: object, _pid: int, channel: str, payload: object) -> None:
        self.deliver(channel, str(payload))

    def _on_termination(self, _conn: object) -> None:
        self._lost.set()
        self._changed.set()


class Notifier:
    """Tells other processes; coalesces what arrives while a NOTIFY is on its way."""

    def __init__(self, connect: Connect, listener: Listener) -> None:
        self._connect = connect
        self._listener = listener
        self._waiting: dict[str, set[str]] = {}
        self._something = asyncio.Event()
        self._told = asyncio.Event()
        self._told.set()
        self._task: asyncio.Task[None] | None = None

    def notify(self, channel: str, payload: str = "") -> None:
        """Tell this process's listeners at once, the others within milliseconds."""
        payloads = self._waiting.setdefault(channel, set())
        payloads.add(payload)
        if len(payloads) > PAYLOADS_MAX:
            self._waiting[channel] = {""}
        self._listener.deliver(channel, payload)
        self._told.clear()
        self._something.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="notifier")

    async def close(self) -> None:
        """Tell what still waits, within CLOSE_TIMEOUT_MS, and disconnect."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_MS / 1000):
                await self._told.wait()
        await _stop(self._task)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._tell_until_lost()
            except CONNECTION_FAULTS as error:
                failures += 1
                _log.warning("notifier.disconnected", error=type(error).__name__)
            await asyncio.sleep(_reconnect_delay_ms(failures) / 1000)

    async def _tell_until_lost(self) -> None:
        conn = await self._connect()
        try:
            while True:
                await self._something.wait()
                await self._tell(conn)
                await asyncio.sleep(NOTIFY_INTERVAL_MS / 1000)
        finally:
            await _close(conn)

    async def _tell(self, conn: Any) -> None:
        self._something.clear()
        waiting, self._waiting = self._waiting, {}
        pairs = [(channel, payload) for channel in waiting for payload in waiting[channel]]
        try:
            await _notify(
                conn, [channel for channel, _ in pairs], [payload for _, payload in pairs]
            )
        except CONNECTION_FAULTS:
            for channel, payload in pairs:
                self._waiting.setdefault(channel, set()).add(payload)
            self._something.set()
            raise
        if not self._something.is_set():
            self._told.set()


def _reconnect_delay_ms(failures: int) -> int:
    """0 failures wait the least; each further one doubles it, up to RECONNECT_MAX_MS."""
    return min(RECONNECT_MIN_MS << min(failures, 10), RECONNECT_MAX_MS)


async def _close(conn: Any) -> None:
    try:
        await conn.close(timeout=CLOSE_TIMEOUT_MS / 1000)
    except CONNECTION_FAULTS:
        conn.terminate()


async def _stop(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait([task])

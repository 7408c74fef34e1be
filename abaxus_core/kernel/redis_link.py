"""A link to Redis that never keeps a caller waiting: a pinned connection, and a circuit breaker.

All commands that wait are one round trip. A fault, or no reply within the time that a link is
given, opens the breaker: from then on whoever asks is told at once, while the link reconnects in
the background. Redis is nobody's source of truth here, so whoever is told `RedisAway` has another
way. Closing the breaker takes a server that answers a question of ours, not a socket that opens.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple, TypeAlias

import structlog

from abaxus_core.kernel.batching import Batcher, Full
from abaxus_core.kernel.config import RedisUrl
from abaxus_core.kernel.redis_commands import Command, RedisAway, Wire

CONNECT_TIMEOUT_MS: Final = 1_000
HEARTBEAT_MS: Final = 1_000
RECONNECT_MIN_MS: Final = 50
RECONNECT_MAX_MS: Final = 2_000
BATCH_MAX: Final = 256
WAITING_MAX: Final = 10_000
# What came while this process was busy with something else is still found in the socket.
GRACE_MS: Final = 2
GET: Final = "GET"

_WIRE = "abaxus_core.kernel.redis_wire"
_log = structlog.get_logger("abaxus.redis")

Dial: TypeAlias = Callable[[], Awaitable[Wire]]


class Told(NamedTuple):
    """A reply, and the life of the server that gave it."""

    run_id: bytes
    reply: object


class RedisLink:
    """One pinned connection, opened by `open` and reopened for ever until `close`.

    `timeout_ms` bounds a round trip; `on_change` hears whether the link is up, when that changes.
    `run_id` is the life of the server that it led to last, empty before there was one.
    """

    def __init__(
        self, dial: Dial, *, name: str, timeout_ms: int, on_change: Callable[[bool], None]
    ) -> None:
        self._dial = dial
        self._name = name
        self._timeout_ms = timeout_ms
        self._on_change = on_change
        self.run_id = b""
        self._wire: Wire | None = None
        self._failures = 0
        self._tried = asyncio.Event()
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._batcher = Batcher(self._run, size_max=BATCH_MAX, waiting_max=WAITING_MAX)

    @property
    def up(self) -> bool:
        return self._wire is not None

    async def open(self) -> None:
        """Begin to connect; returns when the first attempt has ended, well or not."""
        self._task = asyncio.create_task(self._keep_up(), name=f"redis-{self._name}")
        await self._tried.wait()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._wire is not None:
            await self._wire.close()
            self._wire = None

    async def ask(self, *command: str | bytes | int) -> Told:
        """The reply to a command (`Refused`, where the server would not). Raises RedisAway.

        GETs of keys that wait together are one MGET.
        """
        if self._wire is None:
            raise RedisAway("the breaker is open")
        try:
            return await self._batcher.submit(command)
        except (Full, ConnectionError) as error:
            raise RedisAway(type(error).__name__) from error

    async def _run(self, commands: Sequence[Command]) -> list[Told]:
        wire = self._wire
        if wire is None:
            raise RedisAway("the breaker is open")
        keys = [command[1] for command in commands if command[0] == GET]
        others = [command for command in commands if command[0] != GET]
        sent = [("MGET", *keys), *others] if keys else others
        replies = iter(await self._round_trip(wire, sent))
        found = iter(_each(next(replies), len(keys)) if keys else ())
        return [
            Told(wire.run_id, next(found if command[0] == GET else replies)) for command in commands
        ]

    async def _round_trip(self, wire: Wire, commands: Sequence[Command]) -> list[object]:
        try:
            return await self._bounded(wire, commands)
        except (RedisAway, TimeoutError) as error:
            await self._lose(wire, type(error).__name__)
            raise RedisAway(str(error)) from error
        except BaseException:
            await self._lose(wire, "interrupted")
            raise

    async def _bounded(self, wire: Wire, commands: Sequence[Command]) -> list[object]:
        """Late is who has not answered after another look into the socket.

        A timer alone would blame the server for what this process was busy with.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as limit:
            timer = loop.call_later(
                self._timeout_ms / 1000,
                lambda: limit.reschedule(loop.time() + GRACE_MS / 1000),
            )
            try:
                return await wire.ask(commands)
            finally:
                timer.cancel()

    async def _lose(self, wire: Wire, error: str) -> None:
        if self._wire is wire:
            self._wire = None
            self._on_change(False)
            _log.warning("redis.lost", link=self._name, error=error)
            self._lost.set()
        await wire.close()

    async def _keep_up(self) -> None:
        while True:
            await self._connect()
            self._tried.set()
            while self._wire is not None:
                await self._wait_for_loss_or_heartbeat()
            await asyncio.sleep(_delay_ms(self._failures) / 1000)
            self._failures += 1

    async def _wait_for_loss_or_heartbeat(self) -> None:
        """A cut that nobody runs into is seen to before somebody does.

        What has lasted until a heartbeat counts as mended, not what has answered once.
        """
        try:
            async with asyncio.timeout(HEARTBEAT_MS / 1000):
                await self._lost.wait()
        except TimeoutError:
            with suppress(RedisAway):
                await self.ask("PING")
                self._failures = 0

    async def _connect(self) -> None:
        self._lost.clear()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_MS / 1000):
                self._wire = await self._dial()
        except (RedisAway, TimeoutError) as error:
            if not self._tried.is_set():
                self._on_change(False)
                _log.warning("redis.unreachable", link=self._name, error=str(error) or "timeout")
        else:
            self.run_id = self._wire.run_id
            self._on_change(True)
            _log.info("redis.connected", link=self._name)


@asynccontextmanager
async def open_link(
    url: RedisUrl, *, name: str, timeout_ms: int, on_change: Callable[[bool], None]
) -> AsyncIterator[RedisLink]:
    """A link to the server of `url`, up or still trying."""
    link = RedisLink(dialler(url), name=name, timeout_ms=timeout_ms, on_change=on_change)
    await link.open()
    try:
        yield link
    finally:
        await link.close()


def dialler(url: RedisUrl) -> Dial:
    """What connects to the server of `url`."""
    wire = importlib.import_module(_WIRE)

    async def dial() -> Wire:
        opened: Wire = await wire.dial(url.reveal())
        return opened

    return dial


def _each(replies: object, count: int) -> Sequence[object]:
    """The replies to single GETs that an MGET's are; it is refused as a whole."""
    return replies if isinstance(replies, list) else [replies] * count


def _delay_ms(failures: int) -> int:
    """The first goes at once; each further one doubles the wait, up to RECONNECT_MAX_MS."""
    return min(RECONNECT_MIN_MS << min(failures - 1, 10), RECONNECT_MAX_MS) if failures else 0

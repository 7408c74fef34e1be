"""A link to Redis that never keeps a caller waiting: a pinned connection, and a circuit breaker.

What is asked goes through redis_pipeline.py. A fault, or no reply within the time that a link is
given, opens the breaker: from then on whoever asks is told at once, while the link reconnects in
the background. Redis is nobody's source of truth here, so whoever is told `RedisAway` has another
way. Closing the breaker takes a server that answers a question of ours, not a socket that opens.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple, TypeAlias

import structlog

from abaxus_core.kernel.config import RedisUrl
from abaxus_core.kernel.redis_commands import RedisAway, Wire
from abaxus_core.kernel.redis_pipeline import Pipeline

CONNECT_TIMEOUT_MS: Final = 1_000
HEARTBEAT_MS: Final = 1_000
RECONNECT_MIN_MS: Final = 50
RECONNECT_MAX_MS: Final = 2_000

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
        self._pipeline: Pipeline | None = None
        self._failures = 0
        self._tried = asyncio.Event()
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        return self._pipeline is not None

    async def open(self) -> None:
        """Begin to connect; returns when the first attempt has ended, well or not."""
        self._task = asyncio.create_task(self._keep_up(), name=f"redis-{self._name}")
        await self._tried.wait()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None

    async def ask(self, *command: str | bytes | int) -> Told:
        """The reply to a command (`Refused`, where the server would not). Raises RedisAway.

        GETs of keys that wait together are one MGET.
        """
        pipeline = self._pipeline
        if pipeline is None:
            raise RedisAway("the breaker is open")
        return Told(pipeline.run_id, await pipeline.ask(command))

    def _lose(self, reason: str) -> None:
        self._pipeline = None
        self._on_change(False)
        _log.warning("redis.lost", link=self._name, error=reason)
        self._lost.set()

    async def _keep_up(self) -> None:
        while True:
            await self._connect()
            self._tried.set()
            while self._pipeline is not None:
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
                wire = await self._dial()
            pipeline = Pipeline(wire, timeout_ms=self._timeout_ms, on_lost=self._lose)
        except (RedisAway, TimeoutError) as error:
            if not self._tried.is_set():
                self._on_change(False)
                _log.warning("redis.unreachable", link=self._name, error=str(error) or "timeout")
        else:
            self._pipeline = pipeline
            self.run_id = pipeline.run_id
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


def _delay_ms(failures: int) -> int:
    """The first goes at once; each further one doubles the wait, up to RECONNECT_MAX_MS."""
    return min(RECONNECT_MIN_MS << min(failures - 1, 10), RECONNECT_MAX_MS) if failures else 0

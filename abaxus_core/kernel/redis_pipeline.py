"""Asking over one wire to Redis: all that wait in one write, and no reply waited for too long.

What is asked within a turn of the loop is sent at the end of it, as one batch; nothing joins a
batch that was sent. Two may be under way, so that who comes just after one does not wait for all of
a round trip; with two under way the next one grows. Nothing here is a task: a caller waits for a
future, which the wire's callback resolves.

No heed is paid to a socket that is full: what may be in it is two batches, and a server that does
not read them is late.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final, TypeAlias

from abaxus_core.kernel.redis_commands import Command, RedisAway, Refused, Wire

UNDER_WAY_MAX: Final = 2
BATCH_MAX: Final = 256
WAITING_MAX: Final = 10_000
# What came while this process was busy with something else is still found in the socket.
GRACE_MS: Final = 2
NS_PER_MS: Final = 1_000_000
GET: Final = "GET"

Answer: TypeAlias = asyncio.Future[object]


class Batch:
    """What was sent at once: one MGET for all GETs, then the others, with a reply to each."""

    __slots__ = ("found", "is_doubted", "others", "replies", "sent_ns")

    def __init__(self, found: Sequence[Answer], others: Sequence[Answer]) -> None:
        self.found = found
        self.others = others
        self.replies: list[object] = []
        self.sent_ns = time.monotonic_ns()
        self.is_doubted = False

    def is_complete(self) -> bool:
        return len(self.replies) == len(self.others) + bool(self.found)

    def answers(self) -> chain[Answer]:
        return chain(self.found, self.others)

    def told(self) -> list[object] | None:
        """What each of `answers` is told; None where the MGET's reply is not one for each key."""
        if not self.found:
            return self.replies
        values, *others = self.replies
        if isinstance(values, Refused):
            values = [values] * len(self.found)
        if not isinstance(values, list) or len(values) != len(self.found):
            return None
        return [*values, *others]


class Pipeline:
    """A Receiver of redis_commands.py, for what is asked over `wire` until it is lost.

    `timeout_ms` bounds each round trip, from the sending; who waits meanwhile is lost with it.
    `on_lost` hears why, once. `run_id` is that of the wire.
    """

    def __init__(self, wire: Wire, *, timeout_ms: int, on_lost: Callable[[str], None]) -> None:
        self.run_id = wire.run_id
        self._wire = wire
        self._timeout_ms = timeout_ms
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[Command, Answer]] = []
        self._under_way: deque[Batch] = deque()
        self._is_to_send = False
        self._timer: asyncio.TimerHandle | None = None
        wire.lead_to(self)

    def ask(self, command: Command) -> Answer:
        """The reply to come. Raises RedisAway where too many wait; the future does on a loss."""
        if len(self._waiting) >= WAITING_MAX:
            raise RedisAway("too many wait")
        answer: Answer = self._loop.create_future()
        self._waiting.append((command, answer))
        self._send_soon()
        return answer

    def close(self) -> None:
        """Whoever waits is told RedisAway; nothing is sent any more."""
        self._end("closed")

    def replied(self, reply: object) -> None:
        if not self._under_way:
            self.lost("a reply to nothing")
            return
        batch = self._under_way[0]
        batch.replies.append(reply)
        if batch.is_complete():
            self._resolve(batch)

    def lost(self, reason: str) -> None:
        self._end(reason)
        self._on_lost(reason)

    def _send_soon(self) -> None:
        """Once whoever else asks in this turn has asked."""
        if not self._is_to_send and len(self._under_way) < UNDER_WAY_MAX:
            self._is_to_send = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._is_to_send = False
        while self._waiting and len(self._under_way) < UNDER_WAY_MAX:
            batch = self._waiting[:BATCH_MAX]
            del self._waiting[:BATCH_MAX]
            self._send_batch([one for one in batch if not one[1].done()])

    def _send_batch(self, asked: Sequence[tuple[Command, Answer]]) -> None:
        """Those who were cancelled meanwhile are left out; perhaps nobody is left."""
        if not asked:
            return
        gets = [one for one in asked if one[0][0] == GET]
        others = [one for one in asked if one[0][0] != GET]
        commands = [command for command, _ in others]
        if gets:
            commands.insert(0, ("MGET", *[command[1] for command, _ in gets]))
        self._under_way.append(
            Batch([answer for _, answer in gets], [answer for _, answer in others])
        )
        try:
            self._wire.send(commands)
        except (TypeError, ValueError) as error:
            self.lost(type(error).__name__)
        else:
            self._watch(self._timeout_ms)

    def _resolve(self, batch: Batch) -> None:
        told = batch.told()
        if told is None:
            self.lost("a reply of another shape")
            return
        self._under_way.popleft()
        for answer, reply in zip(batch.answers(), told, strict=True):
            if not answer.done():
                answer.set_result(reply)
        if self._waiting:
            self._send_soon()

    def _watch(self, wait_ms: int) -> None:
        """One timer for all batches: it finds the oldest, and ends where none is under way."""
        if self._timer is None:
            self._timer = self._loop.call_later(wait_ms / 1000, self._look)

    def _look(self) -> None:
        """Late is what has no reply after another look into the socket.

        A timer alone would blame the server for what this process was busy with.
        """
        self._timer = None
        if not self._under_way:
            return
        oldest = self._under_way[0]
        left_ms = self._timeout_ms - (time.monotonic_ns() - oldest.sent_ns) // NS_PER_MS
        if left_ms > 0:
            self._watch(left_ms)
        elif oldest.is_doubted:
            self.lost("late")
        else:
            oldest.is_doubted = True
            self._watch(GRACE_MS)

    def _end(self, reason: str) -> None:
        self._wire.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        left = [answer for batch in self._under_way for answer in batch.answers()]
        left += [answer for _, answer in self._waiting]
        self._under_way.clear()
        self._waiting.clear()
        for answer in left:
            if not answer.done():
                answer.set_exception(RedisAway(reason))

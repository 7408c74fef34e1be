"""What is asked over one wire: together, in order, and lost together."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from abaxus_core.kernel.redis_commands import Command, Receiver, RedisAway, Refused
from abaxus_core.kernel.redis_pipeline import (
    BATCH_MAX,
    UNDER_WAY_MAX,
    WAITING_MAX,
    Answer,
    Pipeline,
)
from tests.support.waiting import WAIT_MAX_S, eventually, soon

PATIENT_MS = 60_000
HASTY_MS = 5


@dataclass
class Scripted:
    """A wire that replies what the test says; `sent` has a batch of commands each."""

    run_id: bytes = b"1"
    sent: list[list[Command]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    is_open: bool = True
    receiver: Receiver | None = None

    def lead_to(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def send(self, commands: Sequence[Command]) -> None:
        assert self.is_open
        if any(isinstance(word, str) and not word.isascii() for word in commands[0]):
            raise UnicodeError
        self.sent.append(list(commands))

    def close(self) -> None:
        self.is_open = False

    def reply(self, *replies: object) -> None:
        for reply in replies:
            assert self.receiver is not None
            self.receiver.replied(reply)

    def pipeline(self, timeout_ms: int = PATIENT_MS) -> Pipeline:
        return Pipeline(self, timeout_ms=timeout_ms, on_lost=self._lose)

    def _lose(self, reason: str) -> None:
        self.lost.append(reason)
        self.over.set()


@pytest.fixture
async def wire() -> Scripted:
    return Scripted()


def asked(pipeline: Pipeline, *keys: str) -> list[Answer]:
    return [pipeline.ask(("GET", key)) for key in keys]


async def turn() -> None:
    """All that is due in this turn of the loop is done."""
    await asyncio.sleep(0)


def away(answers: Sequence[Answer]) -> bool:
    """Whether all of them are told so by now."""
    assert all(answer.done() for answer in answers)
    return {type(answer.exception()) for answer in answers} == {RedisAway}


async def test_a_turn_is_one_mget_and_then_the_rest_each_with_its_own_reply(
    wire: Scripted,
) -> None:
    pipeline = wire.pipeline()
    commands: list[Command] = [("SET", "a", 1), ("GET", "a"), ("PING",), ("GET", "b")]
    answers = [pipeline.ask(command) for command in commands]
    assert wire.sent == []
    await turn()
    assert wire.sent == [[("MGET", "a", "b"), ("SET", "a", 1), ("PING",)]]
    wire.reply([b"A", None], b"OK", b"PONG")
    assert [answer.result() for answer in answers] == [b"OK", b"A", b"PONG", None]
    pipeline.close()


async def test_nothing_joins_what_was_sent_and_no_more_than_two_are_under_way(
    wire: Scripted,
) -> None:
    pipeline = wire.pipeline()
    answers = []
    for key in "abcd":
        answers += asked(pipeline, key)
        await turn()
    assert UNDER_WAY_MAX == 2
    assert wire.sent == [[("MGET", "a")], [("MGET", "b")]]
    wire.reply([b"A"])
    answers += asked(pipeline, "e")
    await turn()
    assert wire.sent[2:] == [[("MGET", "c", "d", "e")]]
    wire.reply([b"B"], [b"C", b"D", b"E"])
    assert [await answer for answer in answers] == [b"A", b"B", b"C", b"D", b"E"]
    pipeline.close()


async def test_a_batch_and_what_waits_are_bounded(wire: Scripted) -> None:
    pipeline = wire.pipeline()
    answers = asked(pipeline, *map(str, range(WAITING_MAX)))
    with pytest.raises(RedisAway):
        pipeline.ask(("GET", "one more"))
    await turn()
    assert [len(batch[0]) - 1 for batch in wire.sent] == [BATCH_MAX] * UNDER_WAY_MAX
    answered = 0
    while answered < WAITING_MAX:
        ((_, *keys),) = wire.sent.pop(0)
        wire.reply([str(key).encode() for key in keys])
        answered += len(keys)
        await turn()
    assert [answer.result() for answer in answers] == [str(n).encode() for n in range(WAITING_MAX)]
    assert not wire.sent
    pipeline.close()


async def test_who_has_gone_before_the_sending_is_not_asked_for(wire: Scripted) -> None:
    pipeline = wire.pipeline()
    gone, stays = asked(pipeline, "gone", "stays")
    gone.cancel()
    await turn()
    assert wire.sent == [[("MGET", "stays")]]
    wire.reply([b"here"])
    assert stays.result() == b"here"
    (alone,) = asked(pipeline, "alone")
    alone.cancel()
    await turn()
    assert len(wire.sent) == 1
    pipeline.close()


async def test_who_goes_after_the_sending_leaves_the_others_their_replies(
    wire: Scripted,
) -> None:
    pipeline = wire.pipeline()
    a, b = asked(pipeline, "a", "b")
    gone, c = pipeline.ask(("PING",)), pipeline.ask(("ECHO", "c"))
    await turn()
    a.cancel()
    gone.cancel()
    wire.reply([b"A", b"B"], b"PONG", b"c")
    assert (b.result(), c.result()) == (b"B", b"c")
    assert wire.lost == []
    pipeline.close()


async def test_a_refused_mget_is_each_ones_refusal(wire: Scripted) -> None:
    pipeline = wire.pipeline()
    answers = asked(pipeline, "a", "b")
    await turn()
    wire.reply(Refused("NOPERM"))
    assert [answer.result() for answer in answers] == [Refused("NOPERM")] * 2
    pipeline.close()


@pytest.mark.parametrize("reply", [[b"A"], [b"A", b"B", b"C"], b"A", None])
async def test_a_reply_of_another_shape_loses_the_wire(wire: Scripted, reply: object) -> None:
    answers = asked(wire.pipeline(), "a", "b")
    await turn()
    wire.reply(reply)
    assert away(answers)
    assert len(wire.lost) == 1
    assert not wire.is_open


async def test_a_reply_to_nothing_loses_the_wire(wire: Scripted) -> None:
    wire.pipeline()
    wire.reply(b"PONG")
    assert len(wire.lost) == 1


async def test_what_cannot_be_written_down_loses_the_wire(wire: Scripted) -> None:
    answers = asked(wire.pipeline(), "ü", "a")
    await turn()
    assert away(answers)
    assert wire.lost == ["UnicodeError"]


async def test_a_loss_takes_what_is_under_way_and_what_waits(wire: Scripted) -> None:
    pipeline = wire.pipeline()
    answers = []
    for key in "abcd":
        answers += asked(pipeline, key)
        await turn()
    answers += asked(pipeline, "e")
    pipeline.lost("hung up")
    assert away(answers)
    assert wire.lost == ["hung up"]
    await turn()
    assert len(wire.sent) == UNDER_WAY_MAX


async def test_closing_is_no_loss(wire: Scripted) -> None:
    pipeline = wire.pipeline()
    answers = asked(pipeline, "a")
    await turn()
    answers += asked(pipeline, "b")
    pipeline.close()
    assert away(answers)
    await turn()
    assert len(wire.sent) == 1
    assert wire.lost == []


async def test_a_late_batch_takes_along_who_waits_for_it(wire: Scripted) -> None:
    pipeline = wire.pipeline(HASTY_MS)
    answers = []
    for key in "abc":
        answers += asked(pipeline, key)
        await turn()
    await soon(wire.over)
    assert away(answers)
    assert wire.lost == ["late"]


async def test_a_batch_is_late_though_those_before_it_were_not(wire: Scripted) -> None:
    pipeline = wire.pipeline(HASTY_MS)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while loop.time() < begun + 3 * HASTY_MS / 1000:
        (answer,) = asked(pipeline, "a")
        await turn()
        wire.reply([b"A"])
        assert answer.result() == b"A"
    answers = asked(pipeline, "b")
    await soon(wire.over)
    assert away(answers)


async def test_a_late_reply_that_a_second_look_finds_is_a_reply(wire: Scripted) -> None:
    pipeline = wire.pipeline(HASTY_MS)
    (answer,) = asked(pipeline, "a")
    await turn()
    async with asyncio.timeout(WAIT_MAX_S):
        while not pipeline._under_way[0].is_doubted:
            await turn()
    wire.reply([b"A"])
    assert answer.result() == b"A"
    (next_one,) = asked(pipeline, "b")
    await turn()
    wire.reply([b"B"])
    assert next_one.result() == b"B"
    assert wire.lost == []
    pipeline.close()


async def test_nothing_looks_where_nothing_is_under_way(wire: Scripted) -> None:
    pipeline = wire.pipeline(HASTY_MS)
    asked(pipeline, "a")
    await turn()
    wire.reply([b"A"])

    async def nothing_looks() -> bool:
        return pipeline._timer is None

    await eventually(nothing_looks)
    assert wire.lost == []
    pipeline.close()

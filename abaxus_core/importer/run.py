"""One import: batches in order, several on their way, settled in the source's order."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from abaxus_core.importer.ledger import Ledger, Order, Progress, Settled, reject_of
from abaxus_core.importer.sender import Outcome, Sender
from abaxus_core.importer.source import Record, Source

BATCH_MAX: Final = 1_000
BATCH_BYTES_MAX: Final = 768 * 1024
IN_FLIGHT_MAX: Final = 4


class Meter(Protocol):
    """Is told how an import goes."""

    def moved(self, progress: Progress, position: int) -> None:
        """After each batch; `position` is in bytes of the source as it is stored."""

    def waits(self, why: str) -> None:
        """Before each wait for the API."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A batch; those of it that are worth sending are on their way, where there are any."""

    batch: list[Record]
    sound: list[Record]
    answer: asyncio.Task[Outcome] | None


async def import_events(order: Order, meter: Meter) -> Ledger:
    """Send every record, from where an earlier import was cut off.

    Raises InvalidInput for a source that cannot be read, Stopped when the API does not take it and
    NotKept when that cannot be noted; each may be run again.
    """
    ledger = Ledger(order)
    pending: deque[_Sent] = deque()
    with Source(order.path, order.reading) as source:
        batches = _batches(source, ledger)
        sender = Sender(order.url, order.key, connections_max=IN_FLIGHT_MAX, waits=meter.waits)
        async with sender:
            try:
                while batch := await asyncio.to_thread(next, batches, None):
                    pending.append(_start(sender, batch))
                    if len(pending) >= IN_FLIGHT_MAX:
                        await _settle(ledger, pending.popleft())
                        meter.moved(ledger.progress, source.position)
                while pending:
                    await _settle(ledger, pending.popleft())
                    meter.moved(ledger.progress, source.position)
            finally:
                await _cancel(pending)
    ledger.close()
    return ledger


def _start(sender: Sender, batch: list[Record]) -> _Sent:
    sound = [record for record in batch if record.fault is None]
    return _Sent(batch, sound, asyncio.create_task(sender.send(sound)) if sound else None)


async def _settle(ledger: Ledger, sent: _Sent) -> None:
    outcome = Outcome() if sent.answer is None else await sent.answer
    rejects = [reject_of(sent.sound[one.index], one.fault) for one in outcome.rejected]
    rejects += [reject_of(record, record.fault) for record in sent.batch if record.fault]
    rejects.sort(key=lambda reject: reject.record)
    settled = Settled(
        accepted=outcome.accepted, duplicates=outcome.duplicates, rejects=tuple(rejects)
    )
    ledger.settle(sent.batch, settled)


async def _cancel(pending: deque[_Sent]) -> None:
    answers = [sent.answer for sent in pending if sent.answer is not None]
    for answer in answers:
        answer.cancel()
    await asyncio.gather(*answers, return_exceptions=True)


def _batches(source: Source, ledger: Ledger) -> Iterator[list[Record]]:
    """At most BATCH_MAX records each, and BATCH_BYTES_MAX bytes where that is more than one."""
    records = source.records()
    ledger.pass_settled(records)
    batch: list[Record] = []
    size = 0
    for record in records:
        size += len(record.event)
        if batch and (len(batch) == BATCH_MAX or size > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], len(record.event)
        batch.append(record)
    if batch:
        yield batch

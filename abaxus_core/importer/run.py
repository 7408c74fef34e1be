"""The import of one file: batches in order, several on their way, settled in the file's order."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from abaxus_core.importer.ledger import Ledger, Progress
from abaxus_core.importer.sender import BatchResult, Sender
from abaxus_core.importer.source import Record, Source

BATCH_MAX: Final = 1_000
BATCH_BYTES_MAX: Final = 768 * 1024
IN_FLIGHT_MAX: Final = 4


@dataclass(frozen=True, slots=True)
class _Sent:
    """Records that are on their way, or one that is not worth sending."""

    batch: list[Record]
    answer: asyncio.Task[BatchResult] | None


async def import_file(
    path: Path, *, url: str, key: str, report: Callable[[Progress, int], None]
) -> Ledger:
    """Send every record of the file, from where an earlier import was cut off.

    `report` hears of the progress and of the bytes read, batch by batch. Raises InvalidInput for a
    file that cannot be read and Stopped when the API does not take it; either may be run again.
    """
    ledger = Ledger(path, url)
    pending: deque[_Sent] = deque()
    with Source(path) as source:
        async with Sender(url, key, connections_max=IN_FLIGHT_MAX) as sender:
            try:
                for batch in _batches(source, after=ledger.progress.last_number):
                    pending.append(_start(sender, batch))
                    if len(pending) >= IN_FLIGHT_MAX:
                        await _settle(ledger, pending.popleft())
                        report(ledger.progress, source.position)
                while pending:
                    await _settle(ledger, pending.popleft())
                    report(ledger.progress, source.position)
            finally:
                await _cancel(pending)
    ledger.close()
    return ledger


def _start(sender: Sender, batch: list[Record]) -> _Sent:
    if batch[0].fault is not None:
        return _Sent(batch, None)
    return _Sent(batch, asyncio.create_task(sender.send(batch)))


async def _settle(ledger: Ledger, sent: _Sent) -> None:
    if sent.answer is None:
        ledger.settle_unsent(sent.batch[0], sent.batch[0].fault or "")
    else:
        ledger.settle(sent.batch, await sent.answer)


async def _cancel(pending: deque[_Sent]) -> None:
    answers = [sent.answer for sent in pending if sent.answer is not None]
    for answer in answers:
        answer.cancel()
    await asyncio.gather(*answers, return_exceptions=True)


def _batches(source: Source, *, after: int) -> Iterator[list[Record]]:
    """At most BATCH_MAX records and BATCH_BYTES_MAX bytes each; a faulty record is one alone."""
    batch: list[Record] = []
    size = 0
    for record in source.records():
        if record.number <= after:
            continue
        full = len(batch) == BATCH_MAX or size + len(record.event) > BATCH_BYTES_MAX
        if batch and (full or record.fault is not None):
            yield batch
            batch, size = [], 0
        if record.fault is not None:
            yield [record]
            continue
        batch.append(record)
        size += len(record.event)
    if batch:
        yield batch

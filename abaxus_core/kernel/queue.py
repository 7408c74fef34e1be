"""The job queue, seen from who has work to be done: kinds of jobs, enqueueing, cancelling.

A job is enqueued in the transaction that makes it necessary, and runs at least once after the
commit, so handlers bear being repeated. Running them is queue_worker.py; the states are drawn in
docs/state-machines.md, the reasons are in docs/decisions/0006-the-queue.md.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from enum import IntEnum
from itertools import islice
from typing import Generic, TypeVar

import msgspec

from abaxus_core.errors import InvariantBroken
from abaxus_core.kernel.database import Connection, wake_after_commit
from abaxus_core.kernel.sql import queries

_sql = queries("queue")
_enqueue = _sql.exec("enqueue")
_enqueue_many = _sql.exec("enqueue_many")
_cancel = _sql.exec("cancel")
_depth = _sql.many("depth")
_encode = msgspec.json.Encoder().encode

P = TypeVar("P", bound=msgspec.Struct)

TOPIC = "jobs"
BATCH_MAX = 1_000
DEPTHS_MAX = 500
UNIQUE_KEY_LENGTH_MAX = 500


class Priority(IntEnum):
    """A lower one goes first; within one, jobs go by when they are due."""

    URGENT = 10
    NORMAL = 100
    BULK = 200


class JobKind(msgspec.Struct, Generic[P], frozen=True, kw_only=True):
    """What a job is: its name for ever, the Struct it carries, how often and how long it may try.

    `timeout` is looked at every third of a lease, so it is a net and not a stopwatch.
    """

    name: str
    payload: type[P]
    attempts_max: int = 20
    priority: Priority = Priority.NORMAL
    timeout: timedelta = timedelta(minutes=10)


class Job(msgspec.Struct, Generic[P], frozen=True, kw_only=True):
    """One attempt, as a handler gets it. `attempt` counts from 1."""

    job_id: int
    attempt: int
    attempts_max: int
    payload: P

    @property
    def last_attempt(self) -> bool:
        return self.attempt >= self.attempts_max


class Handler(msgspec.Struct, Generic[P], frozen=True, kw_only=True):
    """Who runs a kind. Returning completes the job; Snooze and Discard mean what they say; any
    other exception is kept on the job, which is tried again later."""

    kind: JobKind[P]
    run: Callable[[Job[P]], Awaitable[None]]


class Schedule(msgspec.Struct, Generic[P], frozen=True, kw_only=True):
    """A job for every tick of `every` (at least a second), counted from midnight UTC, once however
    many workers run. A tick is skipped while the job of the last one has not finished; the first
    is due when the schedule is first seen."""

    name: str
    every: timedelta
    kind: JobKind[P]
    payload: P


class Depth(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs of a kind are in a state."""

    kind: str
    state: str
    jobs: int


class Discard(Exception):
    """Raised by a handler: this job will never succeed; keep it, with this message."""


class Snooze(Exception):
    """Raised by a handler: not yet; again after `seconds`. Spends no attempt."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"again after {seconds} s")
        self.seconds = seconds


async def enqueue(
    conn: Connection,
    kind: JobKind[P],
    payload: P,
    *,
    due_at: datetime | None = None,
    unique_key: str | None = None,
) -> bool:
    """Add a job in the caller's transaction and wake workers after its commit.

    False, and nothing added, while a job of `unique_key` is available or running. A running one
    may already have read what this transaction is about to change: do not give a key to a job that
    must run once more after every change.
    """
    _refuse_long_key(unique_key)
    text = _encode(payload).decode()
    added = await _enqueue(
        conn, kind.name, text, kind.priority, due_at, kind.attempts_max, unique_key
    )
    wake_after_commit(TOPIC)
    return added == 1


async def enqueue_many(
    conn: Connection,
    kind: JobKind[P],
    payloads: Sequence[P],
    *,
    due_at: datetime | None = None,
    unique_keys: Sequence[str | None] | None = None,
) -> int:
    """Add a job for each payload, in their order; how many were not there under their key."""
    keys = iter(unique_keys if unique_keys is not None else [None] * len(payloads))
    added = 0
    for start in range(0, len(payloads), BATCH_MAX):
        batch = payloads[start : start + BATCH_MAX]
        texts = [_encode(payload).decode() for payload in batch]
        batch_keys = list(islice(keys, len(batch)))
        for key in batch_keys:
            _refuse_long_key(key)
        added += await _enqueue_many(
            conn, kind.name, texts, kind.priority, due_at, kind.attempts_max, batch_keys
        )
    wake_after_commit(TOPIC)
    return added


async def cancel(conn: Connection, *, unique_key: str) -> bool:
    """True if a job of this key was waiting and now never runs; a running one goes on."""
    return await _cancel(conn, unique_key) == 1


async def depth(conn: Connection) -> list[Depth]:
    """Jobs that wait, run or were given up, by kind and state; DEPTHS_MAX of these."""
    return [
        Depth(kind=record["kind"], state=record["state"], jobs=record["jobs"])
        for record in await _depth(conn, DEPTHS_MAX)
    ]


def _refuse_long_key(unique_key: str | None) -> None:
    if unique_key is not None and len(unique_key) > UNIQUE_KEY_LENGTH_MAX:
        raise InvariantBroken(f"a unique key has {len(unique_key)} characters")

"""What a worker does to jobs in the database: lease, renew, complete, give back, discard.

Every statement compares the lease, so that a worker whose lease was taken over changes nothing.
Time is the database's, the only clock that all workers share.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from uuid import UUID, uuid4

from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Database
from abaxus_core.kernel.notifications import CONNECTION_FAULTS
from abaxus_core.kernel.queue import Priority
from abaxus_core.kernel.sql import Record, queries

_sql = queries("queue")
_settle_and_claim = _sql.many("settle_and_claim")
_settle = _sql.exec("settle")
_give_back = _sql.exec("give_back")
_discard = _sql.exec("discard")
_renew = _sql.many("renew")
_next_due = _sql.one("next_due")

PRIORITIES = sorted(Priority)
RESUMED_MAX = 16
_FRONT = (datetime.min.replace(tzinfo=UTC), 0)
_MICROSECOND = timedelta(microseconds=1)
_job_id = attrgetter("job_id")


class Claim:
    """A job that this worker holds, until `expires_ns` on its own monotonic clock."""

    __slots__ = ("expires_ns", "job_id", "lease_id", "record")

    def __init__(self, record: Record, lease_id: UUID, expires_ns: int) -> None:
        self.record = record
        self.job_id: int = record["job_id"]
        self.lease_id = lease_id
        self.expires_ns = expires_ns

    @property
    def expired(self) -> bool:
        return time.monotonic_ns() >= self.expires_ns


class Claims:
    """The claims of one worker on the kinds it handles. `clock` may only run ahead: see tests."""

    def __init__(
        self, database: Database, kinds: Sequence[str], *, lease: timedelta, clock: Clock | None
    ) -> None:
        self._database = database
        self._kinds = list(kinds)
        self._lease = lease
        self._clock = clock
        self._bookmarks = _Bookmarks()

    async def settle_and_claim(self, done: Sequence[Claim], claim_max: int) -> list[Claim]:
        """Complete `done` and lease at most `claim_max` jobs, the most urgent first."""
        resumed = self._bookmarks.turn()
        claims = await self._settle_and_claim(done, claim_max)
        if resumed and len(claims) < claim_max:
            self._bookmarks.clear()
            # What is leased already runs all the same; whoever asks next meets the fault.
            with suppress(*CONNECTION_FAULTS):
                claims += await self._settle_and_claim((), claim_max - len(claims))
        return claims

    async def _settle_and_claim(self, done: Sequence[Claim], claim_max: int) -> list[Claim]:
        lease_id, expires_ns = uuid4(), self._expires_ns()
        async with self._database.connection() as conn:
            records = await _settle_and_claim(
                conn,
                *_by_id(done),
                PRIORITIES,
                self._kinds,
                claim_max,
                lease_id,
                self._lease,
                self._now(),
                *self._bookmarks.places(),
            )
        self._bookmarks.move(records)
        return [Claim(record, lease_id, expires_ns) for record in records]

    async def settle(self, done: Sequence[Claim]) -> None:
        """Complete `done`."""
        async with self._database.connection() as conn:
            await _settle(conn, *_by_id(done))

    async def give_back(
        self, claim: Claim, *, delay: timedelta, error: str | None, attempt_spent: bool
    ) -> None:
        """Make it available again after `delay`; an attempt not spent does not count."""
        async with self._database.connection() as conn:
            await _give_back(
                conn,
                [claim.job_id],
                [claim.lease_id],
                delay,
                error,
                0 if attempt_spent else 1,
                self._now(),
            )

    async def give_back_untouched(self, claims: Sequence[Claim]) -> None:
        """Make jobs that never began available again, at once."""
        async with self._database.connection() as conn:
            await _give_back(
                conn,
                *_by_id(claims),
                timedelta(),
                None,
                1,
                self._now(),
            )

    async def discard(self, claim: Claim, error: str) -> None:
        """Never run it again; keep it with its error."""
        async with self._database.connection() as conn:
            await _discard(conn, claim.job_id, claim.lease_id, error, self._now())

    async def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        """Extend the leases; the claims that were lost, taken over by somebody."""
        expires_ns = self._expires_ns()
        async with self._database.connection() as conn:
            records = await _renew(conn, *_by_id(claims), self._lease, self._now())
        kept = {record["job_id"] for record in records}
        for claim in claims:
            if claim.job_id in kept:
                claim.expires_ns = expires_ns
        return [claim for claim in claims if claim.job_id not in kept]

    async def next_due(self) -> timedelta | None:
        """How long until a job is due; zero or less if one is, None if none waits."""
        async with self._database.connection() as conn:
            wait: timedelta | None = (await _next_due(conn, PRIORITIES, self._kinds, self._now()))[
                "wait"
            ]
        return wait

    def _now(self) -> object:
        return self._clock() if self._clock is not None else None

    def _expires_ns(self) -> int:
        """Taken before the statement is sent, so that ours ends before the database's."""
        return time.monotonic_ns() + self._lease // _MICROSECOND * 1_000


class _Bookmarks:
    """After which job of each priority to go on.

    A claim that begins at the front steps over every row that was claimed before and that vacuum
    has not removed, which under an old snapshot is all of them. What falls due behind a bookmark
    waits until one begins at the front: every RESUMED_MAX claims, and when one finds too little.
    """

    def __init__(self) -> None:
        self._places: dict[int, tuple[datetime, int]] = {}
        self._resumed = 0

    def turn(self) -> bool:
        """Whether the next claim resumes; else it begins at the front."""
        if not self._places or self._resumed >= RESUMED_MAX:
            self.clear()
            return False
        self._resumed += 1
        return True

    def clear(self) -> None:
        self._places.clear()
        self._resumed = 0

    def move(self, records: Sequence[Record]) -> None:
        """Go on after these, which ascend within a priority."""
        last = {record["priority"]: record for record in records}
        self._places |= {each: (one["due_at"], one["job_id"]) for each, one in last.items()}

    def places(self) -> tuple[list[datetime], list[int]]:
        """Due times and ids, as PRIORITIES go."""
        places = [self._places.get(priority, _FRONT) for priority in PRIORITIES]
        return [due_at for due_at, _ in places], [job_id for _, job_id in places]


def _by_id(claims: Sequence[Claim]) -> tuple[list[int], list[UUID]]:
    """Ids in ascending order, as the statements want them, and the lease of each."""
    ordered = sorted(claims, key=_job_id)
    return [claim.job_id for claim in ordered], [claim.lease_id for claim in ordered]

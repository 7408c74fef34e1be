"""Snapshots that this process has read, kept until PostgreSQL says that they are true no longer.

Before one is given, all that was committed before the check is heard of (change_feed.py), so it
says what a read would. What is told while somebody reads counts as told after it: the reader may
have seen what was before, and keeps nothing. What lands on whole days is added to usage that is
kept, where it is certain that whoever read it has not seen that already.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from typing import Final

import msgspec
from msgspec.structs import replace

from abaxus_core.domain.entitlement_documents import Measure, Snapshot, covers, holding
from abaxus_core.domain.periods import Period
from abaxus_core.domain.usage_parts import grown
from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Database
from abaxus_core.kernel.kept import Kept
from abaxus_core.repositories.entitlement_changes import Change
from abaxus_core.services.entitlements.access import Asked, Snapshots
from abaxus_core.services.entitlements.change_feed import ChangeFeed
from abaxus_core.services.entitlements.exact import UNVERSIONED
from abaxus_core.services.telemetry import Telemetry

# A customer weighs one, and one for each phase and usage: some 200 bytes each.
KEPT_MAX: Final = 131_072
NUMBERS_KEPT_MAX: Final = 65_536
# Whoever reads while more is told than this keeps nothing.
CHANGES_REMEMBERED_MAX: Final = 64
ANYTHING: Final = Change()
# The statement under way when something was read, and the next one, may tell of what was seen.
MAY_HAVE_BEEN_SEEN: Final = 1


class _Entry(msgspec.Struct, frozen=True):
    """A snapshot, and the time in which it may answer.

    `read_at`: how often it had been asked for changes when each usage was kept.
    """

    snapshot: Snapshot
    holding: Period
    read_at: Mapping[Measure, int]


class KeptSnapshots:
    """One mode's. `stored` reads what is not kept."""

    def __init__(
        self, stored: Snapshots, database: Database, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._stored = stored
        self._mode = database.mode
        self._clock = clock
        self._telemetry = telemetry
        self._feed = ChangeFeed(
            database, changed=self._changed, lost=lambda: self._changed(ANYTHING)
        )
        self._numbers: Kept[str, int] = Kept(NUMBERS_KEPT_MAX)
        self._entries: Kept[int, _Entry] = Kept(KEPT_MAX)
        self._told: deque[Change] = deque(maxlen=CHANGES_REMEMBERED_MAX)
        self._told_count = 0

    async def read(self, asked: Sequence[Asked]) -> Sequence[Snapshot | Exception | None]:
        if len(asked) == 1:
            return (await self._read(asked[0]),)
        return await asyncio.gather(*map(self._read, asked))

    async def _read(self, asked: Asked) -> Snapshot | Exception | None:
        now = self._clock()
        entry = self._kept(asked, now)
        if entry is not None:
            await self._feed.catch_up()
            if self._entries.peek(entry.snapshot.document.customer_no) is not entry:
                entry = self._kept(asked, now)
            if entry is not None:
                self._telemetry.entitlements_kept(self._mode)
                return as_of(entry.snapshot, now)
        elif not self._feed.followed:
            await self._feed.catch_up()
        told_before = self._told_count
        (found,) = await self._stored.read((asked,))
        if isinstance(found, Snapshot) and self._feed.followed:
            self._keep(asked.customer_id, found, told_before)
        return found

    def _kept(self, asked: Asked, now: datetime) -> _Entry | None:
        number = self._numbers.get(asked.customer_id)
        entry = None if number is None else self._entries.get(number)
        if entry is None or not entry.holding.contains(now):
            return None
        return entry if covers(entry.snapshot, asked.feature_keys, now) else None

    def _keep(self, customer_id: str, found: Snapshot, told_before: int) -> None:
        """Keep what was read, beside what is kept of the same phase and billing periods."""
        number = found.document.customer_no
        if found.version == UNVERSIONED or self._told_since(told_before, number):
            return
        read_at = dict.fromkeys(found.used, self._feed.asked)
        known = self._entries.get(number)
        if (
            known is not None
            and known.snapshot.document is found.document
            and known.holding.contains(found.as_of)
        ):
            found = replace(found, used={**known.snapshot.used, **found.used})
            read_at = {**known.read_at, **read_at}
        held = holding(found)
        if held is not None:
            self._numbers.put(customer_id, number)
            self._put(number, _Entry(found, held, read_at))

    def _told_since(self, told_before: int, number: int) -> bool:
        """Whether something that was told since then may be about this customer."""
        count = self._told_count - told_before
        if count > CHANGES_REMEMBERED_MAX:
            return True
        return any(
            change.customer_nos is None or number in change.customer_nos
            for change in islice(reversed(self._told), count)
        )

    def _changed(self, change: Change) -> None:
        self._told.append(change)
        self._told_count += 1
        if change.customer_nos is None:
            self._numbers.forget_all()
            self._entries.forget_all()
        elif change.metric_nos is None:
            for number in change.customer_nos:
                self._entries.forget(number)
        else:
            usages = zip(
                change.customer_nos, change.metric_nos, change.days, change.added, strict=True
            )
            for number, metric_no, day, added in usages:
                entry = self._entries.peek(number)
                if entry is not None:
                    self._use(number, entry, metric_no, day, added)

    def _use(
        self, number: int, entry: _Entry, metric_no: int, day: date, added: Decimal | None
    ) -> None:
        """Add it to what is kept of the metric, or keep that no longer."""
        used = dict(entry.snapshot.used)
        for measure, value in entry.snapshot.used.items():
            metering = measure.metering
            if metering.metric_no != metric_no:
                continue
            seen = self._feed.asked - entry.read_at[measure] <= MAY_HAVE_BEEN_SEEN
            known = None if seen else added
            more = grown(value, metering.aggregation, measure.cut, day, known)
            if more is None:
                del used[measure]
            else:
                used[measure] = more
        if used != entry.snapshot.used:
            changed = replace(entry.snapshot, used=used)
            self._put(number, _Entry(changed, entry.holding, entry.read_at))

    def _put(self, number: int, entry: _Entry) -> None:
        weight = 1 + len(entry.snapshot.document.phases) + len(entry.snapshot.used)
        self._entries.put(number, entry, weight)


def as_of(snapshot: Snapshot, now: datetime) -> Snapshot:
    """The same, known to be so at a later instant."""
    return Snapshot(
        version=snapshot.version, document=snapshot.document, used=snapshot.used, as_of=now
    )

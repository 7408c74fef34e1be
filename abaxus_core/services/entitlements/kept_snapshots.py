"""Snapshots that this process has read, kept until PostgreSQL says that they are true no longer.

As a rule one is given at once: what was heard of last is recent, and who has changed something
since waits for that to end (keeper.py). Otherwise all that was committed before the check is heard
of first (change_feed.py), so it says what a read would. What is told while somebody reads counts as
told after it: the reader may have seen what was before, and keeps nothing. What lands is added to
usage that is kept, where it is certain what it adds, and that whoever read it has not seen that.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

import msgspec
from msgspec.structs import replace

from abaxus_core.domain.entitlement_documents import Measure, Snapshot, covers, holding
from abaxus_core.domain.periods import Period
from abaxus_core.domain.usage_parts import Growth, grown
from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Database
from abaxus_core.kernel.elapsed import NS_PER_MS, elapsed_ns
from abaxus_core.kernel.kept import Kept
from abaxus_core.kernel.turns import in_turns
from abaxus_core.repositories.entitlement_changes import Change
from abaxus_core.services.entitlements.access import Asked, Snapshots
from abaxus_core.services.entitlements.change_feed import ChangeFeed
from abaxus_core.services.entitlements.exact import UNVERSIONED
from abaxus_core.services.entitlements.keeper import KEPT_FOR_MS, Keeper
from abaxus_core.services.telemetry import Telemetry

# The rest of the time is left for the statement to come back in before anybody has to wait for it.
HEAR_AGAIN_AFTER_NS: Final = 20 * NS_PER_MS
KEPT_FOR: Final = timedelta(milliseconds=KEPT_FOR_MS)
# A customer weighs one, and one for each phase and usage: some 200 bytes each.
KEPT_MAX: Final = 131_072
NUMBERS_KEPT_MAX: Final = 65_536
# Whoever reads while more is told than this keeps nothing.
CHANGES_REMEMBERED_MAX: Final = 64
COVERED_KNOWN_MAX: Final = 16
ANYTHING: Final = Change()
# The statement under way when something was read, and the next one, may tell of what was seen.
MAY_HAVE_BEEN_SEEN: Final = 1


class _Entry(msgspec.Struct, gc=False):
    """A snapshot, and the time in which it may answer.

    `read_at`: how often it had been asked for changes when each usage was kept. `covered`: features
    that it was found to cover, as it does all the time.
    """

    snapshot: Snapshot
    holding: Period
    read_at: Mapping[Measure, int]
    covered: tuple[tuple[str, ...] | None, ...] = ()

    def covers(self, feature_keys: tuple[str, ...] | None, now: datetime) -> bool:
        if not self.holding.contains(now):
            return False
        if feature_keys in self.covered:
            return True
        if not covers(self.snapshot, feature_keys, now):
            return False
        if len(self.covered) < COVERED_KNOWN_MAX:
            self.covered += (feature_keys,)
        return True


class KeptSnapshots:
    """One mode's. `stored` reads what is not kept."""

    def __init__(
        self, stored: Snapshots, database: Database, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._stored = stored
        self._mode = database.mode
        self._clock = clock
        self._telemetry = telemetry
        self._keeper = Keeper(database)
        self._changed_here_ns = 0
        self._feed = ChangeFeed(database, clock, changed=self._changed, lost=self._forget_all)
        self._numbers: Kept[str, int] = Kept(NUMBERS_KEPT_MAX)
        self._entries: Kept[int, _Entry] = Kept(KEPT_MAX)
        self._told: deque[Change] = deque(maxlen=CHANGES_REMEMBERED_MAX)
        self._told_count = 0

    def at_hand(self, asked: Asked) -> Snapshot | None:
        """What is kept and may be given at once, as of the last time that changes were heard of."""
        heard, now_ns = self._feed.heard, elapsed_ns()
        if heard is None or heard.sent_ns < self._changed_here_ns:
            return None
        if not self._keeper.may_give(heard, now_ns):
            return None
        now = self._clock()
        if not heard.as_of <= now <= heard.as_of + KEPT_FOR:
            return None
        entry = self._kept(asked, now)
        if entry is None:
            return None
        if now_ns - heard.sent_ns >= HEAR_AGAIN_AFTER_NS:
            self._feed.catch_up_beside()
        self._telemetry.entitlements_kept(self._mode)
        return as_of(entry.snapshot, max(heard.as_of, entry.snapshot.as_of))

    def has(self, customer_id: str) -> bool:
        """Whether a read of this customer's costs little: one statement for all, or one look."""
        number = self._numbers.peek(customer_id)
        return number is not None and self._entries.peek(number) is not None

    async def read(self, asked: Sequence[Asked]) -> Sequence[Snapshot | Exception | None]:
        if len(asked) == 1:
            return (await self._read(asked[0]),)
        return await asyncio.gather(*map(self._read, asked))

    async def changed(self, _customer_ids: Collection[str], *, waiting: bool) -> None:
        self._changed_here_ns = changed_ns = elapsed_ns()
        if not waiting:
            return
        outcome = "alone"
        if not await self._keeper.is_alone():
            await self._keeper.wait_out(changed_ns)
            outcome = "waited_out"
        self._telemetry.entitlements_given_up(self._mode, outcome)

    async def close(self) -> None:
        """Give nothing at once any more; those who change something need not wait for us."""
        await self._keeper.leave()

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
        elif self._feed.heard is None:
            await self._feed.catch_up()
        told_before = self._told_count
        (found,) = await self._stored.read((asked,))
        if isinstance(found, Snapshot) and self._feed.heard is not None:
            self._keep(asked.customer_id, found, told_before)
        return found

    def _kept(self, asked: Asked, now: datetime) -> _Entry | None:
        number = self._numbers.peek(asked.customer_id)
        entry = None if number is None else self._entries.get(number)
        return entry if entry is not None and entry.covers(asked.feature_keys, now) else None

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

    def _forget_all(self) -> None:
        self._told_of(ANYTHING)
        self._numbers.forget_all()
        self._entries.forget_all()

    async def _changed(self, change: Change) -> None:
        if change.customer_nos is None:
            self._forget_all()
            return
        self._told_of(change)
        if change.metric_nos is None:
            for number in change.customer_nos:
                self._entries.forget(number)
            return
        usages = zip(change.customer_nos, change.metric_nos, change.growths, strict=True)
        async for usage in in_turns(usages):
            self._use(*usage)

    def _told_of(self, change: Change) -> None:
        self._told.append(change)
        self._told_count += 1

    def _use(self, number: int, metric_no: int, growth: Growth) -> None:
        """Add it to what is kept of the metric, or keep that no longer."""
        entry = self._entries.peek(number)
        if entry is None:
            return
        used = dict(entry.snapshot.used)
        for measure, value in entry.snapshot.used.items():
            metering = measure.metering
            if metering.metric_no != metric_no:
                continue
            more = grown(value, metering.aggregation, measure.cut, growth)
            seen = self._feed.asked - entry.read_at[measure] <= MAY_HAVE_BEEN_SEEN
            if more is None or (seen and more != value):
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

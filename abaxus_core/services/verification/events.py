"""Stored events, held against their fingerprints, their keys, their partitions and the rollups.

Each event is spelt anew and hashed as when it was accepted, so that whatever is edited of it shows.
Events and rollups come in one order, and are compared as they pass.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import groupby
from typing import Final

import msgspec

from abaxus_core.domain.decimals import exact, plain, shift
from abaxus_core.domain.digest import digest_text
from abaxus_core.domain.findings import Finding
from abaxus_core.domain.instants import microseconds
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import event_keys, verification
from abaxus_core.repositories.verification import Day, KeptEvent, KeySum, Span
from abaxus_core.services.verification.fingerprints import Fingerprint, fingerprint

FIRST_MONTH: Final = datetime(2000, 1, 1, tzinfo=UTC)
BEFORE_MONTHS: Final = "events_before_2000"
UNIX_EPOCH_US: Final = microseconds(datetime(1970, 1, 1, tzinfo=UTC))
NO_KEYS: Final = KeySum()


async def findings(
    conn: Connection, span: Span, moved: Callable[[int], None]
) -> AsyncIterator[Finding]:
    """Yield what of the customers' events does not hold; `moved` hears of each page's events."""
    rollups = verification.rollups_of(conn, span)
    rollup = await anext(rollups, None)
    async for seen in _looked_at(conn, span, moved):
        if isinstance(seen, Finding):
            yield seen
            continue
        while rollup is not None and rollup.place < seen.place:
            yield _of_day(span, None, rollup)
            rollup = await anext(rollups, None)
        if rollup is None or rollup.place != seen.place:
            yield _of_day(span, seen, None)
            continue
        if not _agree(seen, rollup):
            yield _of_day(span, seen, rollup)
        rollup = await anext(rollups, None)
    while rollup is not None:
        yield _of_day(span, None, rollup)
        rollup = await anext(rollups, None)


async def _looked_at(
    conn: Connection, span: Span, moved: Callable[[int], None]
) -> AsyncIterator[Finding | Day]:
    """What is wrong with single events and with the keys; and what each day's events come to."""
    sums: defaultdict[int, KeySum] = defaultdict(KeySum)
    open_day: Day | None = None
    async for page in verification.events_of(conn, span):
        async for finding in _of_events(conn, span, page):
            yield finding
        _count(sums, page)
        for day in _days(page):
            if open_day is not None and open_day.place == day.place:
                open_day = _together(open_day, day)
                continue
            if open_day is not None:
                yield open_day
            open_day = day
        moved(len(page))
    if open_day is not None:
        yield open_day
    async for finding in _of_keys(conn, span, sums):
        yield finding


async def _of_events(
    conn: Connection, span: Span, page: Sequence[KeptEvent]
) -> AsyncIterator[Finding]:
    prints = [fingerprint(span.ids[kept.customer_no], kept.metric_no, kept) for kept in page]
    identities = [
        event_keys.identity(kept.customer_no, one.key)
        for kept, one in zip(page, prints, strict=True)
    ]
    known = await event_keys.known(conn, set(identities))
    for kept, one, identity in zip(page, prints, identities, strict=True):
        for finding in _of_event(kept, one, known.get(identity)):
            yield finding


def _of_event(kept: KeptEvent, again: Fingerprint, kept_hash: int | None) -> Iterator[Finding]:
    where = f"event {again.event_id} ({kept.idempotency_key})"
    if kept.payload_hash != again.payload_hash:
        yield Finding(
            invariant="event_matches_key",
            where=where,
            expected=f"what was fingerprinted as {digest_text(kept.payload_hash)}",
            found=f"what is fingerprinted as {digest_text(again.payload_hash)}",
        )
    if kept_hash != kept.payload_hash:
        yield Finding(
            invariant="event_matches_key",
            where=where,
            expected=f"a key with fingerprint {digest_text(kept.payload_hash)}",
            found="no key" if kept_hash is None else f"one with {digest_text(kept_hash)}",
        )
    if kept.partition != _partition(kept.occurred_at):
        yield Finding(
            invariant="event_in_partition",
            where=where,
            expected=_partition(kept.occurred_at),
            found=kept.partition,
        )


def _partition(occurred_at: datetime) -> str:
    return BEFORE_MONTHS if occurred_at < FIRST_MONTH else f"events_{occurred_at:%Y_%m}"


def _count(sums: defaultdict[int, KeySum], page: Sequence[KeptEvent]) -> None:
    for customer_no, group in groupby(page, key=lambda kept: kept.customer_no):
        hashes = [kept.payload_hash for kept in group]
        before = sums[customer_no]
        sums[customer_no] = KeySum(
            key_count=before.key_count + len(hashes), digest=before.digest + sum(hashes)
        )


async def _of_keys(conn: Connection, span: Span, sums: dict[int, KeySum]) -> AsyncIterator[Finding]:
    """One key an event and one event a key: as many of both, with the same fingerprints."""
    keys = await verification.key_sums(conn, span)
    for customer_no in sorted(sums.keys() | keys.keys()):
        expected, found = keys.get(customer_no, NO_KEYS), sums.get(customer_no, NO_KEYS)
        if expected == found:
            continue
        repeated = await verification.repeated_events(conn, customer_no)
        names = "".join(f"; {key} {times} times" for key, times in repeated.items())
        yield Finding(
            invariant="event_once",
            where=f"events of customer {span.ids[customer_no]}",
            expected=f"{expected.key_count} with digest {digest_text(expected.digest)}",
            found=f"{found.key_count} with digest {digest_text(found.digest)}{names}",
        )


def _days(page: Sequence[KeptEvent]) -> Iterator[Day]:
    """What the events of each day of the page come to, in order."""
    for place, group in groupby(page, key=_place):
        events = list(group)
        with exact():
            value_sum = sum((kept.value for kept in events), Decimal(0))
        yield Day(
            customer_no=place[0],
            metric_no=place[1],
            day=place[2],
            event_count=len(events),
            digest=sum(kept.payload_hash for kept in events),
            value_sum=value_sum,
            value_max=max(kept.value for kept in events),
            value_min=min(kept.value for kept in events),
            last_event=_last(events[-1]),
            landing_no=max(kept.landing_no for kept in events),
        )


def _place(kept: KeptEvent) -> tuple[int, int, date]:
    return kept.customer_no, kept.metric_no, kept.occurred_at.astimezone(UTC).date()


def _last(kept: KeptEvent) -> tuple[Decimal, ...]:
    seconds = shift(Decimal(microseconds(kept.occurred_at) - UNIX_EPOCH_US), -6)
    return seconds, Decimal(kept.arrival_no), kept.value


def _together(one: Day, other: Day) -> Day:
    """Two parts of a day, `other` the later one."""
    with exact():
        value_sum = one.value_sum + other.value_sum
    return msgspec.structs.replace(
        other,
        event_count=one.event_count + other.event_count,
        digest=one.digest + other.digest,
        value_sum=value_sum,
        value_max=max(one.value_max, other.value_max),
        value_min=min(one.value_min, other.value_min),
        landing_no=max(one.landing_no, other.landing_no),
    )


def _agree(day: Day, rollup: Day) -> bool:
    return msgspec.structs.replace(day, last_event=rollup.last_event and day.last_event) == rollup


def _of_day(span: Span, day: Day | None, rollup: Day | None) -> Finding:
    one = day or rollup
    assert one is not None, "a day has events or a rollup"
    return Finding(
        invariant="rollup_matches_events",
        where=f"{one.day} of metric no. {one.metric_no}, customer {span.ids[one.customer_no]}",
        expected=_spelt(day),
        found=_spelt(rollup),
    )


def _spelt(day: Day | None) -> str:
    if day is None:
        return "nothing"
    return (
        f"{day.event_count} events, digest {digest_text(day.digest)}, sum {plain(day.value_sum)}, "
        f"maximum {plain(day.value_max)}, minimum {plain(day.value_min)}, landing {day.landing_no}"
    )

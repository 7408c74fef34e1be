"""What rating reads of many customers at once, and the marks that it leaves behind.

Every function takes an array and runs one statement: a chunk of customers costs as many round
trips as a single one. What the numbers mean is domain/true_up.py's.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Final

import msgspec

from abaxus_core.domain.charges import Charge
from abaxus_core.domain.periods import Cadence
from abaxus_core.domain.subscriptions import Subscription, Terms
from abaxus_core.domain.true_up import Billed, ChargeKey
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries
from abaxus_core.repositories import rollups
from abaxus_core.repositories.invoices import charge_key
from abaxus_core.repositories.subscriptions import with_amendments

_sql = queries("billing")
_accounts = _sql.many("accounts")
_credits = _sql.many("credits")
_subscriptions = _sql.many("subscriptions")
_plan_versions = _sql.many("plan_versions")
_changed_days = _sql.many("changed_days")
_open_windows = _sql.many("open_windows")
_billed = _sql.many("billed")
_mark = _sql.exec("mark")
_due = _sql.many("due")
_newest_inbox_row = _sql.one("newest_inbox_row")
_inbox_has_until = _sql.one("inbox_has_until")

_charges = msgspec.json.Decoder(tuple[Charge, ...])


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A customer as invoicing finds it: after its invoice number `last_sequence`, 0 for none.

    `currency` is None before the first subscription, `last_cutoff` before the first invoice.
    """

    customer_no: int
    customer_id: str
    currency: str | None
    last_sequence: int
    last_cutoff: datetime | None


class PinnedPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What rating needs of a plan's version."""

    currency: str
    cadence: Cadence
    charges: tuple[Charge, ...]


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """How far a subscription has been invoiced, by the amendments that were applied to it."""

    subscription_id: str
    billed_through: datetime | None
    amendments_applied: int = 0


# One more than LATE_DAYS, for clocks that differ.
_RECENT_DAYS: Final = rollups.LATE_DAYS + 1

ChangedDays = Mapping[tuple[str, int], Collection[date]]
OpenWindows = Mapping[str, Mapping[datetime, datetime]]


async def accounts(conn: Connection, customer_nos: Sequence[int]) -> list[Account]:
    """Return the customers, in order of their numbers. Has to be the first read of a rating."""
    return [
        Account(
            customer_no=row["customer_no"],
            customer_id=row["customer_id"],
            currency=row["currency"],
            last_sequence=row["last_sequence"] or 0,
            last_cutoff=row["last_cutoff"],
        )
        for row in await _accounts(conn, customer_nos)
    ]


async def credits_of(conn: Connection, customer_nos: Sequence[int]) -> dict[int, int]:
    """Return the credit of each customer who has some, in minor units, by number."""
    rows = await _credits(conn, customer_nos)
    return {row["customer_no"]: int(row["credit_minor"]) for row in rows}


async def subscriptions(
    conn: Connection, customer_nos: Sequence[int], *, started_before: datetime
) -> dict[int, list[Subscription]]:
    """Return the customers' subscriptions that start before an instant, by customer number."""
    rows = await _subscriptions(conn, customer_nos, started_before)
    found: defaultdict[int, list[Subscription]] = defaultdict(list)
    for subscription in await with_amendments(conn, rows):
        found[subscription.customer_no].append(subscription)
    return found


async def plans(conn: Connection, terms: Collection[Terms]) -> dict[Terms, PinnedPlan]:
    """Return the pinned versions, each once."""
    plan_ids = [one.plan_id for one in terms]
    versions = [one.plan_version for one in terms]
    return {
        Terms(plan_id=row["plan_id"], plan_version=row["version"]): PinnedPlan(
            currency=row["currency"],
            cadence=Cadence(interval=row["billing_interval"], count=row["billing_count"]),
            charges=_charges.decode(row["charges"]),
        )
        for row in await _plan_versions(conn, plan_ids, versions)
    }


async def changed_days(conn: Connection, customer_nos: Sequence[int]) -> ChangedDays:
    """Return the UTC days of invoiced periods in which usage landed since, by what it is usage of:
    subscription id and metric number.
    """
    changed: defaultdict[tuple[str, int], set[date]] = defaultdict(set)
    for row in await _changed_days(conn, customer_nos, _RECENT_DAYS):
        changed[row["subscription_id"], row["metric_no"]].add(row["day"])
    return changed


async def open_windows(conn: Connection, customer_nos: Sequence[int]) -> OpenWindows:
    """Return how far invoices went into each period that is open, by subscription and its start."""
    windows: defaultdict[str, dict[datetime, datetime]] = defaultdict(dict)
    for row in await _open_windows(conn, customer_nos):
        windows[row["subscription_id"]][row["period_start"]] = row["window_end"]
    return windows


async def billed(
    conn: Connection, periods: Collection[tuple[str, datetime]]
) -> dict[ChargeKey, Billed]:
    """Return what earlier invoices hold for billing periods, given by subscription and start."""
    rows = await _billed(conn, [one for one, _ in periods], [start for _, start in periods])
    return {
        charge_key(row): Billed(
            amount_minor=int(row["amount_minor"]),
            exact_amount=row["exact_amount"],
            revisions=row["revisions"],
            watermark=row["watermark"],
        )
        for row in rows
    }


async def mark(
    conn: Connection, marks: Sequence[Mark], *, rated_watermark: int, rated_on: date
) -> bool:
    """Record how far subscriptions are invoiced, with every event landed up to the watermark.

    `rated_on` is today's UTC day. False when one of them was amended since.
    """
    marked = await _mark(
        conn,
        [one.subscription_id for one in marks],
        [one.billed_through for one in marks],
        [one.amendments_applied for one in marks],
        rated_watermark,
        rated_on,
    )
    return marked == len(marks)


async def due(
    conn: Connection, *, after_customer_no: int, started_before: datetime, limit: int
) -> list[int]:
    """Return the next customers that a bulk run has to look at, in order of their numbers."""
    rows = await _due(conn, after_customer_no, started_before, limit, _RECENT_DAYS)
    return [row["customer_no"] for row in rows]


async def newest_inbox_row(conn: Connection) -> int | None:
    """Return the last accepted batch of events that has not landed; None when nothing waits."""
    inbox_id: int | None = (await _newest_inbox_row(conn))["inbox_id"]
    return inbox_id


async def inbox_has_until(conn: Connection, inbox_id: int) -> bool:
    """Return whether a batch accepted no later than that one still waits."""
    waiting: bool = (await _inbox_has_until(conn, inbox_id))["waiting"]
    return waiting

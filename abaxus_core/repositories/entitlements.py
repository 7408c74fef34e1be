"""What runs for customers now or later, and what plan versions grant."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec

from abaxus_core.domain.entitlement_phases import Held
from abaxus_core.domain.entitlements import Entitlement
from abaxus_core.domain.subscriptions import Terms
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries
from abaxus_core.repositories.subscriptions import paced

_sql = queries("entitlements")
_number = _sql.maybe("number")
_held = _sql.many("held")
_granted = _sql.many("granted")

_entitlements = msgspec.json.Decoder(tuple[Entitlement, ...])


async def number(conn: Connection, customer_id: str) -> int | None:
    """The customer's number; None for an unknown customer."""
    row = await _number(conn, customer_id)
    return None if row is None else row["customer_no"]


async def held(
    conn: Connection, customer_nos: Sequence[int], now: datetime
) -> dict[int, list[Held]]:
    """The subscriptions that run for some customers at `now` or may do so later."""
    found: defaultdict[int, list[Held]] = defaultdict(list)
    for each in await paced(conn, await _held(conn, customer_nos, now)):
        held = Held(subscription=each.subscription, cadence=each.cadence)
        found[each.subscription.customer_no].append(held)
    return found


async def granted(
    conn: Connection, terms: Collection[Terms]
) -> dict[Terms, tuple[Entitlement, ...]]:
    """What each of these plan versions grants."""
    rows = await _granted(conn, [one.plan_id for one in terms], [one.plan_version for one in terms])
    return {
        Terms(plan_id=row["plan_id"], plan_version=row["version"]): _entitlements.decode(
            row["entitlements"]
        )
        for row in rows
    }

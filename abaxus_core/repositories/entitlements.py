"""What may run for a customer at an instant, and what plan versions grant."""

from collections.abc import Collection
from datetime import datetime

import msgspec

from abaxus_core.domain.entitlements import Entitlement
from abaxus_core.domain.subscriptions import Terms
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries
from abaxus_core.repositories.subscriptions import Paced, paced

_sql = queries("entitlements")
_running = _sql.many("running")
_granted = _sql.many("granted")

_entitlements = msgspec.json.Decoder(tuple[Entitlement, ...])


async def running(conn: Connection, customer_id: str, at: datetime) -> list[Paced] | None:
    """The customer's subscriptions that may run then, the most recently started last.

    None for an unknown customer.
    """
    rows = await _running(conn, customer_id, at)
    if not rows:
        return None
    return await paced(conn, [row for row in rows if row["subscription_id"] is not None])


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

"""What runs for a customer at an instant, with what its plan versions grant."""

from datetime import datetime

import msgspec

from abaxus_core.domain.entitlements import Entitlement
from abaxus_core.domain.periods import Cadence
from abaxus_core.domain.subscriptions import Subscription
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import Record, queries

_sql = queries("entitlements")
_running = _sql.many("running")

_entitlements = msgspec.json.Decoder(tuple[Entitlement, ...])


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription, the cadence of its plan version, and what that version grants."""

    subscription: Subscription
    cadence: Cadence
    entitlements: tuple[Entitlement, ...]


async def running(conn: Connection, customer_id: str, at: datetime) -> list[Running] | None:
    """The customer's running subscriptions, the most recently started last.

    None for an unknown customer.
    """
    rows = await _running(conn, customer_id, at)
    if not rows:
        return None
    return [_one(row, customer_id) for row in rows if row["subscription_id"] is not None]


def _one(row: Record, customer_id: str) -> Running:
    return Running(
        subscription=Subscription(
            id=row["subscription_id"],
            customer_no=row["customer_no"],
            customer_id=customer_id,
            plan_id=row["plan_id"],
            plan_version=row["plan_version"],
            start_at=row["start_at"],
            end_at=row["end_at"],
            created_at=row["created_at"],
        ),
        cadence=Cadence(interval=row["billing_interval"], count=row["billing_count"]),
        entitlements=_entitlements.decode(row["entitlements"]),
    )

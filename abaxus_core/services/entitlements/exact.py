"""The slow, exact way: everything is read anew, from subscriptions, amendments and usage.

It needs no document, sees what its own transaction has written, and answers what no document
covers.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from abaxus_core.domain.entitlement_documents import Measure, Snapshot, measures
from abaxus_core.domain.periods import Period
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import entitlements as repository
from abaxus_core.repositories import rollups
from abaxus_core.repositories.events import Window
from abaxus_core.services.entitlements.documents import resolve

UNVERSIONED = 0


async def exact(
    conn: Connection, customer_id: str, feature_keys: Collection[str] | None, *, now: datetime
) -> Snapshot | None:
    """What covers these features (None: all) at `now`; None: there is no such customer."""
    number = await repository.number(conn, customer_id)
    if number is None:
        return None
    (document,) = await resolve(conn, [number], now=now, phases_max=1)
    needed = measures(document, feature_keys, now)
    assert needed is not None, "it is about now"
    used = await usage(conn, needed)
    return Snapshot(version=UNVERSIONED, document=document, used=used, as_of=now)


async def usage(conn: Connection, needed: Sequence[Measure]) -> Mapping[Measure, Decimal]:
    """What had landed of each."""
    if not needed:
        return {}
    windows = [window_of(measure, measure.period) for measure in needed]
    found = await rollups.aggregate(conn, windows)
    return {measure: one.value for measure, one in zip(needed, found, strict=True)}


def window_of(measure: Measure, part: Period) -> Window:
    """The events that a measure counts in a part of its period."""
    metering = measure.metering
    return Window(
        customer_no=measure.customer_no,
        metric_no=metering.metric_no,
        aggregation=metering.aggregation,
        property=metering.property,
        percentile=metering.percentile,
        start=part.start,
        end=part.end,
    )

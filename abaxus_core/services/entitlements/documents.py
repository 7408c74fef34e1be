"""Working out documents from what is stored of customers."""

from collections.abc import Sequence
from datetime import datetime

from abaxus_core.domain.entitlement_documents import Document
from abaxus_core.domain.entitlement_phases import (
    PHASES_MAX,
    Catalogue,
    document_of,
    metric_keys_of,
    terms_of,
)
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import entitlements as repository
from abaxus_core.repositories import metrics


async def resolve(
    conn: Connection, customer_nos: Sequence[int], *, now: datetime, phases_max: int = PHASES_MAX
) -> list[Document]:
    """What these customers are granted from `now` on, in order: four statements in all."""
    held = await repository.held(conn, customer_nos, now)
    terms = terms_of(each for those in held.values() for each in those)
    granted = await repository.granted(conn, terms) if terms else {}
    keys = metric_keys_of(granted.values())
    known = await metrics.find(conn, keys) if keys else {}
    catalogue = Catalogue(granted=granted, metrics=known)
    return [
        document_of(number, held.get(number, ()), catalogue, now=now, phases_max=phases_max)
        for number in customer_nos
    ]

"""Documents: worked out from what is stored of customers, in the transaction that changes it.

A change claims its customers' documents before it reads what they follow from: of two changes of
one customer the later to claim waits, and then sees the earlier.
"""

from collections.abc import Collection, Sequence
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
from abaxus_core.repositories import entitlement_documents as repository
from abaxus_core.repositories import entitlements, metrics

NOTHING_GRANTED = Catalogue(granted={}, metrics={})


async def begin(conn: Connection, customer_no: int, *, now: datetime) -> None:
    """Store the document of a new customer, who is granted nothing."""
    await repository.begin(conn, document_of(customer_no, (), NOTHING_GRANTED, now=now))


async def renew(conn: Connection, customer_ids: Collection[str], *, now: datetime) -> None:
    """Work out the documents of these customers anew; other changes of theirs wait from then on.

    Last in a transaction: whoever holds a document must not wait for anything else.
    """
    customer_nos = await repository.claim(conn, customer_ids)
    await repository.store(conn, await resolve(conn, customer_nos, now=now))


async def resolve(
    conn: Connection, customer_nos: Sequence[int], *, now: datetime, phases_max: int = PHASES_MAX
) -> list[Document]:
    """What these customers are granted from `now` on, in order: four statements in all."""
    held = await entitlements.held(conn, customer_nos, now)
    terms = terms_of(each for those in held.values() for each in those)
    granted = await entitlements.granted(conn, terms) if terms else {}
    keys = metric_keys_of(granted.values())
    known = await metrics.find(conn, keys) if keys else {}
    catalogue = Catalogue(granted=granted, metrics=known)
    return [
        document_of(number, held.get(number, ()), catalogue, now=now, phases_max=phases_max)
        for number in customer_nos
    ]

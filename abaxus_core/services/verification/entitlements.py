"""Resolved entitlements, held against the subscriptions and plans that they follow from."""

from collections.abc import AsyncIterator
from datetime import datetime

import msgspec

from abaxus_core.domain.entitlement_agreement import disagreement
from abaxus_core.domain.findings import Finding
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import entitlement_documents as repository
from abaxus_core.repositories.verification import Span
from abaxus_core.services.entitlements import documents


async def findings(conn: Connection, span: Span, *, now: datetime) -> AsyncIterator[Finding]:
    """Yield who has a document that grants something else, from `now` on, than one made anew.

    A document that is missing is made when it is next asked for.
    """
    stored = await repository.stored(conn, list(span.ids))
    for made in await documents.resolve(conn, list(stored), now=now):
        differing = disagreement(made, stored[made.customer_no], now)
        if differing is not None:
            expected, found = (msgspec.json.encode(each).decode() for each in differing)
            yield Finding(
                invariant="entitlements_as_granted",
                where=f"entitlements of customer {span.ids[made.customer_no]}",
                expected=expected,
                found=found,
            )

"""What a customer's running subscriptions grant now, and how much of it is used.

Amendments that are due count, applied or not. Usage is what has landed; events still in the inbox
follow within the time that processing takes.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from abaxus_core.domain.entitlement_documents import Snapshot, combined
from abaxus_core.domain.entitlements import Combined
from abaxus_core.services.customers import no_such_customer
from abaxus_core.services.entitlements.access import Asked
from abaxus_core.services.work import Context


class Told(msgspec.Struct, frozen=True):
    """What a snapshot says of some features. While a cache gives the same one, so does a check."""

    snapshot: Snapshot
    feature_keys: tuple[str, ...] | None

    @property
    def as_of(self) -> datetime:
        """The instant that grants and usage are told for."""
        return self.snapshot.as_of

    def combined(self) -> Sequence[Combined]:
        """What it amounts to, in the order asked."""
        return combined(self.snapshot, self.feature_keys, self.as_of)


async def resolve(context: Context, customer_id: str, *, fresh: bool = False) -> Told:
    """Everything that is granted to the customer, by feature. Raises CUSTOMER_NOT_FOUND.

    `fresh`: from PostgreSQL, whatever a cache has.
    """
    return await _told(context, Asked(customer_id, None), fresh)


async def check(
    context: Context, customer_id: str, feature_keys: tuple[str, ...], *, fresh: bool = False
) -> Told:
    """What is granted of each feature, in order; `granted` is false where nobody grants it.

    Raises CUSTOMER_NOT_FOUND.
    """
    return await _told(context, Asked(customer_id, feature_keys), fresh)


async def _told(context: Context, asked: Asked, fresh: bool) -> Told:
    snapshot = await context.entitlements.snapshot(asked, fresh=fresh)
    if snapshot is None:
        raise no_such_customer(asked.customer_id)
    return Told(snapshot, asked.feature_keys)

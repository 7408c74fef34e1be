"""The kinds of jobs there are, and what each carries. worker/ says who runs them.

A kind's name is stored with its jobs: it never changes. All are listed in docs/operations.md.
"""

from typing import Final

import msgspec

from abaxus_core.kernel.queue import JobKind


class ResolvePayment(msgspec.Struct, frozen=True, kw_only=True):
    payment_id: str


class SweepPayments(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing: it looks at whatever is due."""


class DeliverEmail(msgspec.Struct, frozen=True, kw_only=True):
    email_id: str


class PruneRecords(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing: it forgets whatever has been kept long enough."""


PAYMENT_RESOLVE: Final = JobKind(name="payment.resolve", payload=ResolvePayment)
PAYMENT_SWEEP: Final = JobKind(name="payment.sweep", payload=SweepPayments, attempts_max=1)
EMAIL_DELIVER: Final = JobKind(name="email.deliver", payload=DeliverEmail)
RECORDS_PRUNE: Final = JobKind(name="records.prune", payload=PruneRecords, attempts_max=1)

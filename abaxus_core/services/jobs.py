"""The kinds of jobs there are, and what each carries. worker/ says who runs them.

A kind's name is stored with its jobs: it never changes. All are listed in docs/operations.md.
"""

from typing import Final
from uuid import UUID

import msgspec

from abaxus_core.kernel.queue import JobKind, Priority


class ResolvePayment(msgspec.Struct, frozen=True, kw_only=True):
    payment_id: str


class EndLeftover(msgspec.Struct, frozen=True, kw_only=True):
    """`key`: the cancellation's own idempotency key, the same however often it is tried."""

    payment_id: str
    key: UUID


class SweepPayments(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing: it looks at whatever is due."""


class DeliverEmail(msgspec.Struct, frozen=True, kw_only=True):
    email_id: str


class PlanBulkRun(msgspec.Struct, frozen=True, kw_only=True):
    bulk_run_id: str


class InvoiceChunk(msgspec.Struct, frozen=True, kw_only=True):
    """Some customers of a bulk run, in order of their numbers."""

    bulk_run_id: str
    customer_nos: tuple[int, ...]


class CollectInvoice(msgspec.Struct, frozen=True, kw_only=True):
    """`actor`: who asked for the run that issued it."""

    invoice_id: str
    actor: str


class PruneRecords(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing: it forgets whatever has been kept long enough."""


class MakePartitions(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing: it makes those of this month and the next."""


class SealAudit(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing: it seals whatever waits."""


class ApplyAmendments(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing: it applies whatever is due."""


class ExpireReservations(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing: it ends whatever has run out."""


class ForgetChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing: it forgets what every process has been told of entitlements."""


class FailAbandoned(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing: it ends whatever has no job left."""


PAYMENT_RESOLVE: Final = JobKind(name="payment.resolve", payload=ResolvePayment)
PAYMENT_END: Final = JobKind(name="payment.end", payload=EndLeftover, attempts_max=8)
PAYMENT_SWEEP: Final = JobKind(name="payment.sweep", payload=SweepPayments, attempts_max=1)
EMAIL_DELIVER: Final = JobKind(name="email.deliver", payload=DeliverEmail)
AMENDMENTS_APPLY: Final = JobKind(name="amendments.apply", payload=ApplyAmendments, attempts_max=1)
RESERVATIONS_EXPIRE: Final = JobKind(
    name="reservations.expire", payload=ExpireReservations, attempts_max=1
)
ABANDONED_FAIL: Final = JobKind(name="abandoned.fail", payload=FailAbandoned, attempts_max=1)
CHANGES_FORGET: Final = JobKind(name="entitlements.forget", payload=ForgetChanges, attempts_max=1)
RECORDS_PRUNE: Final = JobKind(name="records.prune", payload=PruneRecords, attempts_max=1)
PARTITIONS_MAKE: Final = JobKind(name="partitions.make", payload=MakePartitions, attempts_max=1)
AUDIT_SEAL: Final = JobKind(name="audit.seal", payload=SealAudit, attempts_max=1)
BULK_PLAN: Final = JobKind(name="bulk.plan", payload=PlanBulkRun, priority=Priority.BULK)
BULK_CHUNK: Final = JobKind(name="bulk.chunk", payload=InvoiceChunk, priority=Priority.BULK)
INVOICE_CHARGE: Final = JobKind(
    name="invoice.charge", payload=CollectInvoice, priority=Priority.BULK
)
INVOICE_SEND: Final = JobKind(name="invoice.send", payload=CollectInvoice, priority=Priority.BULK)

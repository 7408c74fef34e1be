"""The worker's table of contents: which job kind is run by what, and what runs by the clock."""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from abaxus_core.kernel.queue import Discard, Handler, Job, Schedule, Snooze
from abaxus_core.services import (
    amendments,
    audit_seals,
    bulk_runs,
    charging,
    leftovers,
    mailing,
    upkeep,
)
from abaxus_core.services.jobs import (
    ABANDONED_FAIL,
    AMENDMENTS_APPLY,
    AUDIT_SEAL,
    CHANGES_FORGET,
    EMAIL_DELIVER,
    PARTITIONS_MAKE,
    PAYMENT_END,
    PAYMENT_RESOLVE,
    PAYMENT_SWEEP,
    RECORDS_PRUNE,
    RESERVATIONS_EXPIRE,
    ApplyAmendments,
    DeliverEmail,
    EndLeftover,
    ExpireReservations,
    FailAbandoned,
    ForgetChanges,
    MakePartitions,
    PruneRecords,
    ResolvePayment,
    SealAudit,
    SweepPayments,
)
from abaxus_core.services.work import Context
from abaxus_core.worker import bulk

SCHEDULES: Final[Sequence[Schedule[Any]]] = (
    Schedule(
        name="payments", every=timedelta(seconds=30), kind=PAYMENT_SWEEP, payload=SweepPayments()
    ),
    Schedule(
        name="amendments",
        every=timedelta(seconds=30),
        kind=AMENDMENTS_APPLY,
        payload=ApplyAmendments(),
    ),
    Schedule(
        name="abandoned", every=timedelta(minutes=1), kind=ABANDONED_FAIL, payload=FailAbandoned()
    ),
    Schedule(
        name="reservations",
        every=timedelta(minutes=1),
        kind=RESERVATIONS_EXPIRE,
        payload=ExpireReservations(),
    ),
    Schedule(name="audit", every=timedelta(minutes=1), kind=AUDIT_SEAL, payload=SealAudit()),
    Schedule(
        name="entitlements",
        every=timedelta(minutes=1),
        kind=CHANGES_FORGET,
        payload=ForgetChanges(),
    ),
    Schedule(name="records", every=timedelta(hours=1), kind=RECORDS_PRUNE, payload=PruneRecords()),
    Schedule(
        name="partitions", every=timedelta(hours=1), kind=PARTITIONS_MAKE, payload=MakePartitions()
    ),
)


def of(context: Context) -> list[Handler[Any]]:
    """The handlers of one mode."""

    async def deliver_email(job: Job[DeliverEmail]) -> None:
        await mailing.deliver(context, job.payload.email_id)

    async def resolve_payment(job: Job[ResolvePayment]) -> None:
        await charging.resolve(context, job.payload.payment_id)

    async def end_leftover(job: Job[EndLeftover]) -> None:
        await leftovers.end(context, job.payload)

    async def sweep_payments(_job: Job[SweepPayments]) -> None:
        await charging.sweep(context)

    async def apply_amendments(_job: Job[ApplyAmendments]) -> None:
        await amendments.apply_due(context)

    async def fail_abandoned(_job: Job[FailAbandoned]) -> None:
        await bulk_runs.fail_abandoned(context)
        await mailing.fail_abandoned(context)

    async def expire_reservations(_job: Job[ExpireReservations]) -> None:
        await upkeep.expire_reservations(context)

    async def seal_audit(_job: Job[SealAudit]) -> None:
        await audit_seals.seal(context)

    async def forget_changes(_job: Job[ForgetChanges]) -> None:
        await upkeep.forget_changes(context)

    async def prune_records(_job: Job[PruneRecords]) -> None:
        await upkeep.prune(context)

    async def make_partitions(_job: Job[MakePartitions]) -> None:
        await upkeep.make_partitions(context)

    handlers: list[Handler[Any]] = [
        Handler(kind=EMAIL_DELIVER, run=deliver_email),
        Handler(kind=PAYMENT_RESOLVE, run=resolve_payment),
        Handler(kind=PAYMENT_END, run=end_leftover),
        Handler(kind=PAYMENT_SWEEP, run=sweep_payments),
        Handler(kind=AMENDMENTS_APPLY, run=apply_amendments),
        Handler(kind=ABANDONED_FAIL, run=fail_abandoned),
        Handler(kind=RESERVATIONS_EXPIRE, run=expire_reservations),
        Handler(kind=AUDIT_SEAL, run=seal_audit),
        Handler(kind=CHANGES_FORGET, run=forget_changes),
        Handler(kind=RECORDS_PRUNE, run=prune_records),
        Handler(kind=PARTITIONS_MAKE, run=make_partitions),
        *bulk.handlers(context),
    ]
    return [_measured(context, handler) for handler in handlers]


def _measured(context: Context, handler: Handler[Any]) -> Handler[Any]:
    """The handler, its runs timed and counted by how they end."""

    async def run(job: Job[Any]) -> None:
        started_ns = time.monotonic_ns()
        outcome = "retried"
        try:
            await handler.run(job)
            outcome = "completed"
        except Snooze:
            outcome = "snoozed"
            raise
        except Discard:
            outcome = "discarded"
            raise
        finally:
            took_ns = time.monotonic_ns() - started_ns
            context.telemetry.job_ended(context.mode, handler.kind.name, outcome, took_ns)

    return Handler(kind=handler.kind, run=run)

"""What a payment's new state means to its invoice, the audit log and the queue.

All in the transaction that moved the payment; what moves it is attempts.py's.
"""

from typing import Final

import structlog
from msgspec.structs import replace

from abaxus_core.domain import payments as domain
from abaxus_core.domain.payments import Payment
from abaxus_core.errors import InvariantBroken
from abaxus_core.kernel.queue import enqueue
from abaxus_core.repositories import audit as log
from abaxus_core.repositories import invoices
from abaxus_core.repositories.audit import Filter
from abaxus_core.services import audit
from abaxus_core.services.jobs import PAYMENT_END, PAYMENT_RESOLVE, EndLeftover, ResolvePayment
from abaxus_core.services.work import Work

NEWEST: Final = 2**63 - 1
SURPLUSES_MAX: Final = 100

_log = structlog.get_logger("abaxus.charging")


async def begun(work: Work, payment: Payment) -> None:
    """A new attempt: the invoice is being collected."""
    await invoices.set_payment_status(work.conn, payment.invoice_id, "processing")
    await _audit(work, "payment.created", payment)


async def show(work: Work, before: Payment, after: Payment) -> None:
    """What a payment's new state means to its invoice, the audit log and the queue."""
    if after.state == "succeeded":
        await pay(work, after.invoice_id, _audit_data(after))
        return
    status = domain.invoice_payment_status(after.state)
    await invoices.set_payment_status(work.conn, after.invoice_id, status)
    if after.state != before.state:
        await _audit(work, f"payment.{after.state}", after)
    if after.state in domain.ASKABLE:
        await schedule(work, after)
    if _leaves_something(before, after):
        await _end_leftover(work, after)


async def schedule(work: Work, payment: Payment) -> None:
    """Have somebody look after the payment when it is due."""
    await enqueue(
        work.conn,
        PAYMENT_RESOLVE,
        ResolvePayment(payment_id=payment.id),
        due_at=payment.next_check_at,
        unique_key=f"payment:{payment.id}:{payment.sends}:{payment.checks}",
    )


async def alarm_surplus(work: Work, payment: Payment, provider_ref: str | None) -> None:
    """Money has moved that nobody is owed, under this reference: an operator must refund it.

    Said once, however often it is found; the invoice must be locked.
    """
    of_invoice = Filter(
        object_type="invoice", object_id=payment.invoice_id, action="payment.surplus"
    )
    said = await log.page(work.conn, of_invoice, before_no=NEWEST, rows_max=SURPLUSES_MAX)
    if any(one.entry.data["provider_payment_id"] == provider_ref for one in said):
        return
    surplus = replace(payment, provider_payment_id=provider_ref)
    _log.error(
        "payment.surplus",
        payment_id=payment.id,
        provider=payment.provider,
        provider_payment_id=provider_ref,
    )
    await _audit(work, "payment.surplus", surplus)


async def resolved(work: Work, payment: Payment, how: dict[str, object]) -> None:
    """An operator has said what became of the payment."""
    await audit.record(
        work,
        action="payment.resolved",
        object_type="invoice",
        object_id=payment.invoice_id,
        data={**_audit_data(payment), **how},
    )


async def pay(work: Work, invoice_id: str, data: dict[str, object]) -> None:
    """The invoice is paid: `data` says how."""
    if not await invoices.mark_paid(work.conn, invoice_id, work.now):
        raise InvariantBroken(f"{invoice_id} left the state issued while it was being collected")
    await audit.record(
        work, action="invoice.paid", object_type="invoice", object_id=invoice_id, data=data
    )


def _leaves_something(before: Payment, after: Payment) -> bool:
    """Whether the provider keeps a payment that somebody might complete beside a later one."""
    if after.provider_payment_id is None or after.state == before.state:
        return False
    if after.state == "needs_operator":
        return before.state == "pending"
    return after.state in ("declined", "requires_action")


async def _end_leftover(work: Work, payment: Payment) -> None:
    await enqueue(
        work.conn,
        PAYMENT_END,
        EndLeftover(payment_id=payment.id, key=work.ids.uuid4()),
        unique_key=f"payment.end:{payment.id}",
    )


async def _audit(work: Work, action: str, payment: Payment) -> None:
    await audit.record(
        work,
        action=action,
        object_type="invoice",
        object_id=payment.invoice_id,
        data=_audit_data(payment),
    )


def _audit_data(payment: Payment) -> dict[str, object]:
    return {
        "payment_id": payment.id,
        "provider": payment.provider,
        "provider_payment_id": payment.provider_payment_id,
        "amount": payment.amount_minor,
        "currency": payment.currency,
        "code": payment.code,
        "provider_code": payment.provider_code,
    }

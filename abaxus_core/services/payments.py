"""Payments for operators: read back, and resolved by hand where nobody can be asked any more."""

from msgspec.structs import replace

from abaxus_core.domain import payments as domain
from abaxus_core.domain.payments import Decision, Payment
from abaxus_core.errors import IllegalTransition, NotFound
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import payments
from abaxus_core.services import attempts, consequences
from abaxus_core.services.work import Work


async def get(conn: Connection, payment_id: str) -> Payment:
    """Raises NotFound (PAYMENT_NOT_FOUND)."""
    payment = await payments.get(conn, payment_id)
    if payment is None:
        raise NotFound("there is no such payment", code="PAYMENT_NOT_FOUND")
    return payment


async def resolve(work: Work, payment_id: str, decision: Decision, note: str) -> Payment:
    """The payment as the operator found it to be; invoice and audit log follow.

    Once resolved so, the same again changes nothing. Raises PAYMENT_NOT_FOUND, and
    IllegalTransition unless the payment is unknown or waits for an operator.
    """
    bill = await payments.lock_bill(work.conn, (await get(work.conn, payment_id)).invoice_id)
    assert bill is not None, "invoices are never deleted"
    before = await get(work.conn, payment_id)
    if before.state == decision:
        return before
    if before.state not in domain.DECIDABLE:
        raise _not_to_be_resolved(before)
    after = domain.decide(before, decision, now=work.now)
    await consequences.resolved(work, before, {"outcome": decision, "note": note})
    if not await attempts.move(work, before, after):
        raise _not_to_be_resolved(replace(before, state="sending"))
    return after


def _not_to_be_resolved(payment: Payment) -> IllegalTransition:
    return IllegalTransition(
        f"the payment is {payment.state}; only one that is unknown or needs_operator is resolved",
        details={"payment_id": payment.id, "status": payment.state},
    )

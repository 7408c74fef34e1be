"""One attempt to collect an invoice, step by step: the charge protocol of decision record 0008.

begin  (T1)  the attempt is a row, its request frozen
send   (T2)  the row says that it is on its way; commit; the bytes leave, once; and then
settle (T3)  what the answer proved goes into payment, invoice, audit and queue together

T1 and T3 lock the invoice first, and every step changes the payment only if it still is as it was
read. When to take which step is charging.py's.
"""

from dataclasses import dataclass

import structlog
from msgspec.structs import replace

from abaxus_core.domain import payments as domain
from abaxus_core.domain.payments import Payment, Result
from abaxus_core.errors import Conflict, InvariantBroken, NotFound
from abaxus_core.kernel.queue import enqueue
from abaxus_core.plugin.payments import FrozenRequest, Outcome, PaymentProvider
from abaxus_core.repositories import invoices, payments
from abaxus_core.repositories.payments import Bill
from abaxus_core.services import audit, charge_requests, provider_calls
from abaxus_core.services.jobs import PAYMENT_RESOLVE, ResolvePayment
from abaxus_core.services.work import Context, Work, perform

_log = structlog.get_logger("abaxus.charging")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A payment with what it takes to send it."""

    payment: Payment
    provider: PaymentProvider
    request: FrozenRequest


async def begin(context: Context, work: Work, invoice_id: str) -> Attempt | None:
    """T1: a new attempt of the invoice, or the one that never reached its provider.

    None when there was nothing to pay: the invoice is paid now. Raises NotFound,
    IllegalTransition, Conflict (CHARGE_IN_PROGRESS) and whatever charge_requests does.
    """
    bill = await payments.lock_bill(work.conn, invoice_id)
    if bill is None:
        raise NotFound("there is no such invoice", code="INVOICE_NOT_FOUND")
    charge_requests.check_collectable(bill)
    if bill.total_minor == 0:
        await _pay(work, invoice_id, {"amount": 0, "currency": bill.currency})
        return None
    name, provider = charge_requests.provider_of(context, bill)
    payment = _new(work, bill, name, provider)
    request = charge_requests.freeze(name, provider, bill, payment.attempt_id)
    attempt = Attempt(payment=payment, provider=provider, request=request)
    if await payments.insert(work.conn, payment, request):
        return await _begun(work, attempt)
    return await _instead_of_live(work, bill, attempt)


async def send(
    context: Context, actor: str, attempt: Attempt, *, count_check: bool = False
) -> Payment | None:
    """T2, the call, T3: the payment afterwards. `count_check`: this send is a look-up, too.

    None, and nothing sent, when somebody else moved the payment first.
    """
    before = attempt.payment

    async def lease(work: Work) -> Payment | None:
        counted = replace(before, checks=before.checks + count_check)
        after = domain.begin_send(counted, lease_id=work.ids.uuid4(), now=work.now)
        return after if await payments.compare_and_set(work.conn, before, after) else None

    sending = await perform(context, actor, lease)
    if sending is None:
        return None
    outcome = await provider_calls.charge(
        attempt.provider, sending, attempt.request, replay=before.maybe_executed
    )
    context.telemetry.payment_attempted(context.mode, before.provider, outcome.status)

    async def record(work: Work) -> Payment:
        return await settle(work, sending, outcome, executed_before=before.maybe_executed)

    return await perform(context, actor, record)


async def settle(
    work: Work, before: Payment, outcome: Outcome, *, executed_before: bool
) -> Payment:
    """T3: the payment after the outcome, or as it is where another came first."""
    await payments.lock_bill(work.conn, before.invoice_id)
    after = domain.conclude(before, _result(outcome), executed_before=executed_before, now=work.now)
    if not await payments.compare_and_set(work.conn, before, after, outcome):
        return await _overtaken(work, before, outcome)
    await show(work, before, after)
    return after


async def close_unsent(work: Work, payment: Payment) -> bool:
    """Give the attempt up, known not to have moved money; whether it still was as read."""
    await payments.lock_bill(work.conn, payment.invoice_id)
    closed = domain.close_unsent(payment, now=work.now)
    if not await payments.compare_and_set(work.conn, payment, closed):
        return False
    await show(work, payment, closed)
    return True


async def show(work: Work, before: Payment, after: Payment) -> None:
    """What a payment's new state means to its invoice, the audit log and the queue."""
    if after.state == "succeeded":
        await _pay(work, after.invoice_id, _audit_data(after))
        return
    status = domain.invoice_payment_status(after.state)
    await invoices.set_payment_status(work.conn, after.invoice_id, status)
    if after.state != before.state:
        await _audit(work, f"payment.{after.state}", after)
    if after.state in domain.ASKABLE:
        await schedule(work, after)


async def schedule(work: Work, payment: Payment) -> None:
    """Have somebody look after the payment when it is due."""
    await enqueue(
        work.conn,
        PAYMENT_RESOLVE,
        ResolvePayment(payment_id=payment.id),
        due_at=payment.next_check_at,
        unique_key=f"payment:{payment.id}:{payment.sends}:{payment.checks}",
    )


def _new(work: Work, bill: Bill, name: str, provider: PaymentProvider) -> Payment:
    return Payment(
        id=work.ids.new("pay"),
        invoice_id=bill.invoice_id,
        provider=name,
        account_fingerprint=charge_requests.fingerprint(provider),
        attempt_id=work.ids.uuid4(),
        idempotency_key=work.ids.uuid4(),
        amount_minor=bill.total_minor,
        currency=bill.currency,
        next_check_at=work.now + domain.CREATED_GRACE,
        created_at=work.now,
    )


async def _begun(work: Work, attempt: Attempt) -> Attempt:
    await invoices.set_payment_status(work.conn, attempt.payment.invoice_id, "processing")
    await _audit(work, "payment.created", attempt.payment)
    return attempt


async def _instead_of_live(work: Work, bill: Bill, new: Attempt) -> Attempt:
    """The live attempt if it may be sent again; `new` once that one is out of the way.

    An attempt that never reached its provider keeps its key, unless what it asks for is no longer
    what would be asked: then it is closed.
    """
    live = await payments.live_of_invoice(work.conn, bill.invoice_id)
    if live is None:
        raise InvariantBroken(f"{new.payment.id} was refused, and {bill.invoice_id} has no other")
    if live.state != "transient":
        raise in_progress(live)
    frozen = await payments.request(work.conn, live.id)
    wanted = charge_requests.freeze(live.provider, new.provider, bill, live.attempt_id)
    if wanted == frozen and _same_account(live, new.payment):
        return Attempt(payment=live, provider=new.provider, request=frozen)
    if not await close_unsent(work, live):
        raise in_progress(live)
    if not await payments.insert(work.conn, new.payment, new.request):
        raise InvariantBroken(f"{bill.invoice_id} has two live attempts")
    return await _begun(work, new)


def in_progress(live: Payment) -> Conflict:
    """The refusal to charge beside a live attempt."""
    return Conflict(
        f"an attempt to collect this invoice is {live.state} and must be settled first",
        code="CHARGE_IN_PROGRESS",
        details={"payment_id": live.id, "status": live.state},
    )


def _same_account(one: Payment, other: Payment) -> bool:
    return (one.provider, one.account_fingerprint) == (other.provider, other.account_fingerprint)


async def _overtaken(work: Work, before: Payment, outcome: Outcome) -> Payment:
    """The payment as another left it. That it charged, against what is settled, is an alarm."""
    current = await payments.get(work.conn, before.id)
    assert current is not None, "payments are never deleted"
    agreed = current.state == "succeeded" and current.provider_payment_id == outcome.provider_ref
    if outcome.status == "succeeded" and current.state in domain.FINAL and not agreed:
        surplus = replace(current, provider_payment_id=outcome.provider_ref)
        await _raise_alarm(work, surplus)
    return current


async def _raise_alarm(work: Work, payment: Payment) -> None:
    """Money has moved that nobody is owed: an operator must refund it."""
    _log.error(
        "payment.surplus",
        payment_id=payment.id,
        provider=payment.provider,
        provider_payment_id=payment.provider_payment_id,
    )
    await _audit(work, "payment.surplus", payment)


async def _pay(work: Work, invoice_id: str, data: dict[str, object]) -> None:
    if not await invoices.mark_paid(work.conn, invoice_id, work.now):
        raise InvariantBroken(f"{invoice_id} left the state issued while it was being collected")
    await audit.record(
        work, action="invoice.paid", object_type="invoice", object_id=invoice_id, data=data
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


def _result(outcome: Outcome) -> Result:
    return Result(
        status=outcome.status,
        provider_payment_id=outcome.provider_ref,
        code=outcome.code,
        provider_code=outcome.provider_code,
        retry=outcome.retry,
    )

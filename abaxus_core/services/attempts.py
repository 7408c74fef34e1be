"""One attempt to collect an invoice, step by step: the charge protocol of decision record 0008.

begin  (T1)  the attempt is a row, its request frozen
send   (T2)  the row says that it is on its way; commit; the bytes leave, once; and then
settle (T3)  what the answer proved goes into payment, invoice, audit and queue together

T1 and T3 lock the invoice first, and every step changes the payment only if it still is as it was
read. When to take which step is charging.py's, what a new state entails consequences.py's.
"""

from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from abaxus_core.domain import payments as domain
from abaxus_core.domain.payments import Payment, Result
from abaxus_core.errors import InvariantBroken, NotFound
from abaxus_core.plugin.payments import FrozenRequest, Outcome, PaymentProvider
from abaxus_core.repositories import payments
from abaxus_core.repositories.payments import Bill
from abaxus_core.services import charge_requests, consequences, provider_calls, refusals
from abaxus_core.services.work import Context, Work, perform


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
        await consequences.pay(work, invoice_id, {"amount": 0, "currency": bill.currency})
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

    None, and nothing sent, when somebody else moved the payment first, or when the time is over
    in which a repetition was safe.
    """
    before = attempt.payment
    ttl_s = attempt.provider.capabilities.idempotency_ttl_s

    async def lease(work: Work) -> Payment | None:
        if not domain.may_send(before, ttl_s=ttl_s, now=work.now):
            return None
        counted = replace(before, checks=before.checks + count_check)
        after = domain.begin_send(counted, lease_id=work.ids.uuid4(), now=work.now)
        return after if await payments.compare_and_set(work.conn, before, after) else None

    sending = await perform(context, actor, lease)
    if sending is None or _is_late(sending, context.clock()):
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
    after = await _conclude(work, before, outcome, executed_before=executed_before)
    return after or await _overtaken(work, before, outcome)


async def learn(work: Work, payment: Payment, outcome: Outcome) -> None:
    """T3 for what is learnt beside a send. What is settled stays; against it, money is an alarm."""
    if payment.state in domain.FINAL:
        await payments.lock_bill(work.conn, payment.invoice_id)
        await _hold_against(work, payment, outcome)
    else:
        await settle(work, payment, outcome, executed_before=True)


async def close_unsent(work: Work, payment: Payment) -> bool:
    """Give the attempt up, known not to have moved money; whether it still was as read."""
    await payments.lock_bill(work.conn, payment.invoice_id)
    return await move(work, payment, domain.close_unsent(payment, now=work.now))


async def move(work: Work, before: Payment, after: Payment) -> bool:
    """Store a payment's new state and all that follows from it; whether it still was as read."""
    if not await payments.compare_and_set(work.conn, before, after):
        return False
    await consequences.show(work, before, after)
    return True


def _is_late(sending: Payment, now: datetime) -> bool:
    """Whether the sender was held up for so long that another has taken over."""
    return sending.leased_until is not None and sending.leased_until <= now


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
    await consequences.begun(work, attempt.payment)
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
        raise refusals.in_progress(live)
    frozen = await payments.request(work.conn, live.id)
    wanted = charge_requests.freeze(live.provider, new.provider, bill, live.attempt_id)
    if wanted == frozen and _same_account(live, new.payment):
        _check_patience(live, work.now)
        return Attempt(payment=live, provider=new.provider, request=frozen)
    if not await close_unsent(work, live):
        raise refusals.in_progress(live)
    if not await payments.insert(work.conn, new.payment, new.request):
        raise InvariantBroken(f"{bill.invoice_id} has two live attempts")
    return await _begun(work, new)


def _check_patience(live: Payment, now: datetime) -> None:
    if live.retry_at is not None and live.retry_at > now:
        raise refusals.unavailable(live, now)


def _same_account(one: Payment, other: Payment) -> bool:
    return (one.provider, one.account_fingerprint) == (other.provider, other.account_fingerprint)


async def _conclude(
    work: Work, before: Payment, outcome: Outcome, *, executed_before: bool
) -> Payment | None:
    """The payment after the outcome; None where it no longer was as `before`."""
    after = domain.conclude(before, _result(outcome), executed_before=executed_before, now=work.now)
    if not await payments.compare_and_set(work.conn, before, after, outcome):
        return None
    await consequences.show(work, before, after)
    return after


async def _overtaken(work: Work, before: Payment, outcome: Outcome) -> Payment:
    """The payment as another left it, unless that knows less: that it charged is believed."""
    current = await payments.get(work.conn, before.id)
    assert current is not None, "payments are never deleted"
    if current.state in domain.FINAL:
        await _hold_against(work, current, outcome)
    elif outcome.status == "succeeded" and current.state != "sending":
        return await _conclude(work, current, outcome, executed_before=True) or current
    return current


async def _hold_against(work: Work, settled: Payment, outcome: Outcome) -> None:
    """That money moved, against what is settled otherwise, is an alarm."""
    known = (outcome.provider_ref, None)
    agreed = settled.state == "succeeded" and settled.provider_payment_id in known
    if outcome.status == "succeeded" and not agreed:
        await consequences.alarm_surplus(work, settled, outcome.provider_ref)


def _result(outcome: Outcome) -> Result:
    return Result(
        status=outcome.status,
        provider_payment_id=outcome.provider_ref,
        code=outcome.code,
        provider_code=outcome.provider_code,
        retry=outcome.retry,
        retry_after_s=outcome.retry_after_s,
    )

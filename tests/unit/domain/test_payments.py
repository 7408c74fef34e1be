"""The states of an attempt, moved by pure functions."""

from datetime import UTC, datetime, timedelta
from typing import get_args
from uuid import UUID

import pytest
from msgspec.structs import replace

from abaxus_core.domain import payments
from abaxus_core.domain.payments import Payment, PaymentState, Result, ResultStatus

NOW = datetime(2026, 5, 10, 12, tzinfo=UTC)
LEASE_ID = UUID(int=1)
NEW = Payment(
    id="pay_1",
    invoice_id="inv_1",
    provider="p",
    account_fingerprint="f",
    attempt_id=UUID(int=2),
    idempotency_key=UUID(int=3),
    amount_minor=100,
    currency="usd",
    created_at=NOW,
)
SENDING = payments.begin_send(NEW, lease_id=LEASE_ID, now=NOW)


def test_a_payment_on_its_way_may_have_been_executed():
    assert (SENDING.state, SENDING.sends, SENDING.maybe_executed) == ("sending", 1, True)
    assert SENDING.leased_until == SENDING.next_check_at == NOW + payments.LEASE
    again = payments.begin_send(
        payments.take_over(SENDING, now=NOW), lease_id=LEASE_ID, now=NOW + timedelta(hours=1)
    )
    assert (again.sends, again.first_sent_at) == (2, NOW)
    assert again.last_sent_at == NOW + timedelta(hours=1)


@pytest.mark.parametrize("status", get_args(ResultStatus))
def test_each_answer_has_its_state(status):
    after = payments.conclude(SENDING, Result(status=status), executed_before=False, now=NOW)

    assert after.state == status
    assert after.lease_id is None
    assert (after.settled_at is not None) == (after.state in payments.FINAL)
    assert (after.next_check_at is None) == (after.state in payments.FINAL)


def test_a_send_that_never_arrived_proves_nothing_of_the_one_before():
    transient = Result(status="transient")

    first = payments.conclude(SENDING, transient, executed_before=False, now=NOW)
    assert (first.state, first.maybe_executed) == ("transient", False)
    later = payments.conclude(SENDING, transient, executed_before=True, now=NOW)
    assert (later.state, later.maybe_executed) == ("unknown", True)


def test_looks_become_rarer_and_end_with_an_operator():
    payment = payments.take_over(SENDING, now=NOW)
    waits = []
    while payment.checks < payments.CHECKS_MAX:
        payment = payments.count_check(payment, now=NOW)
        waits.append(payment.next_check_at - NOW)

    assert waits == sorted(waits)
    assert sum(waits, timedelta()) > timedelta(days=28)
    with pytest.raises(AssertionError):
        payments.count_check(payment, now=NOW)
    handed = payments.hand_over(payment, "nothing_left_to_ask")
    assert (handed.state, handed.code) == ("needs_operator", "nothing_left_to_ask")
    assert handed.next_check_at is None


@pytest.mark.parametrize(
    ("asked_s", "waited"),
    [
        (None, None),
        (0, None),
        (-5, None),
        (300, timedelta(minutes=5)),
        (10**9, payments.RETRY_AFTER_MAX),
    ],
)
def test_a_provider_that_asks_for_patience_is_left_alone_within_reason(asked_s, waited):
    transient = Result(status="transient", retry_after_s=asked_s)
    idle = payments.conclude(SENDING, transient, executed_before=False, now=NOW)
    assert idle.retry_at == (NOW + waited if waited else None)
    assert idle.next_check_at == NOW + (waited or timedelta()) + payments.IDLE_MAX

    unknown = Result(status="unknown", retry_after_s=asked_s)
    lost = payments.conclude(SENDING, unknown, executed_before=False, now=NOW)
    assert lost.next_check_at == NOW + (waited or payments.CHECK_DELAYS[0])


@pytest.mark.parametrize("decision", ["succeeded", "declined", "not_charged"])
@pytest.mark.parametrize("state", get_args(PaymentState))
def test_an_operator_decides_only_what_nobody_knows(state, decision):
    payment = replace(SENDING, state=state)
    if state not in ("unknown", "needs_operator"):
        with pytest.raises(AssertionError):
            payments.decide(payment, decision, now=NOW)
        return
    decided = payments.decide(payment, decision, now=NOW)
    assert (decided.state, decided.settled_at, decided.next_check_at) == (decision, NOW, None)
    assert decided.code is None


def test_an_operator_may_have_it_asked_about_again():
    waiting = replace(SENDING, state="needs_operator", code="amount_mismatch", checks=3)
    again = payments.decide(waiting, "look_again", now=NOW)
    assert (again.state, again.checks, again.next_check_at) == ("unknown", 4, NOW)
    assert (again.code, again.settled_at) == (None, None)


def test_what_may_have_been_executed_is_sent_only_while_its_key_is_known():
    late = NOW + timedelta(hours=23)
    assert not payments.may_send(SENDING, ttl_s=86_400, now=late)
    assert payments.may_send(replace(SENDING, maybe_executed=False), ttl_s=86_400, now=late)
    assert payments.may_send(SENDING, ttl_s=86_400, now=NOW)


def test_a_key_is_repeated_only_while_the_provider_surely_knows_it():
    day_s = 86_400
    for hours, may in ((0, True), (22, True), (23, False), (25, False)):
        now = NOW + timedelta(hours=hours)
        assert payments.may_replay(SENDING, ttl_s=day_s, now=now) is may
    assert not payments.may_replay(SENDING, ttl_s=0, now=NOW)
    assert payments.may_replay(NEW, ttl_s=0, now=NOW)


@pytest.mark.parametrize("state", sorted(payments.FINAL))
def test_what_is_settled_stays_as_it_is(state):
    settled = replace(SENDING, state=state)
    with pytest.raises(AssertionError):
        payments.begin_send(settled, lease_id=LEASE_ID, now=NOW)
    with pytest.raises(AssertionError):
        payments.close_unsent(settled, now=NOW)
    with pytest.raises(AssertionError):
        payments.count_check(settled, now=NOW)


@pytest.mark.parametrize("state", get_args(PaymentState))
def test_every_state_shows_on_the_invoice(state):
    assert payments.invoice_payment_status(state) in {
        "processing",
        "requires_action",
        "failed",
        "unknown",
        "succeeded",
    }

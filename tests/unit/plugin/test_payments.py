"""The vocabulary of outcomes."""

from typing import get_args

from abaxus_core.plugin.payments import EXECUTED, Outcome, Status


def test_every_status_says_whether_the_provider_acted():
    assert set(EXECUTED) == set(get_args(Status))
    assert Outcome(status="unknown").executed == "maybe"
    assert Outcome(status="transient").executed == "no"

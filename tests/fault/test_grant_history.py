"""What the checker holds against a check, and what it does not."""

import pytest

from tests.support.grant_history import GrantHistory, Stale

OLD = {"seats": "1", "tier": "old"}
NEW = {"seats": "2", "tier": "new"}
NONE = {"seats": None, "tier": None}


@pytest.fixture
def history() -> GrantHistory:
    """Acme, granted OLD, and that was answered."""
    history = GrantHistory("acme")
    history.sent("subscribing", OLD)
    history.was_answered()
    return history


def test_a_check_that_starts_after_the_answer_may_not_show_what_was_before(
    history: GrantHistory,
) -> None:
    history.sent("a plan change", NEW)
    history.was_answered()
    check = history.start("B")
    with pytest.raises(Stale, match=r"acme: a plan change .* what held after subscribing") as found:
        history.judge(check, {"tier": "old"})
    assert "through B" in str(found.value)
    history.judge(check, {"tier": "new"})
    assert history.pairs == 1


def test_a_check_that_started_before_the_answer_may_show_either(history: GrantHistory) -> None:
    check = history.start("A")
    history.sent("a plan change", NEW)
    early = history.start("A")
    history.was_answered()
    for each in (check, early):
        history.judge(each, {"seats": "1"})
        history.judge(each, {"seats": "2"})
    assert history.pairs == 4


def test_what_a_change_takes_away_may_not_be_shown(history: GrantHistory) -> None:
    history.sent("a pause", NONE)
    history.was_answered()
    with pytest.raises(Stale):
        history.judge(history.start("A"), {"seats": "1"})
    history.judge(history.start("A"), {"seats": None})


def test_what_was_never_granted_may_not_be_shown(history: GrantHistory) -> None:
    with pytest.raises(Stale, match="what never held"):
        history.judge(history.start("A"), {"seats": "3"})


def test_features_that_are_shown_together_are_of_one_change(history: GrantHistory) -> None:
    check = history.start("A")
    history.sent("a plan change", NEW)
    with pytest.raises(Stale):
        history.judge(check, {"seats": "1", "tier": "new"})


def test_nothing_counts_before_the_first_answer() -> None:
    history = GrantHistory("acme")
    check = history.start("A")
    history.sent("subscribing", OLD)
    history.judge(check, {"seats": None})
    assert history.pairs == 0

"""Which misses are worth a fill: all while they are few, then those of who is missed again."""

from abaxus_core.services.entitlements.worth import FILLS_AT_FIRST_MAX, MISSES_OF_A_FILL, Worth
from tests.support.api import FakeMonotonic

TTL_NS = 2_000_000_000


def busy(clock: FakeMonotonic) -> Worth:
    """One that has filled as many as it may at first in this stretch."""
    worth = Worth(TTL_NS, clock)
    assert all(worth.missed(f"first-{number}") for number in range(FILLS_AT_FIRST_MAX))
    return worth


def test_few_are_all_filled() -> None:
    busy(FakeMonotonic())


def test_of_many_those_are_filled_who_are_missed_again() -> None:
    worth = busy(FakeMonotonic())
    filled = [worth.missed("acme") for _ in range(MISSES_OF_A_FILL + 1)]
    assert filled == [False] * (MISSES_OF_A_FILL - 1) + [True, True]
    assert not worth.missed("first-0")


def test_who_was_missed_in_the_stretch_before_is_missed_again() -> None:
    clock = FakeMonotonic()
    worth = busy(clock)
    assert not any(worth.missed("acme") for _ in range(MISSES_OF_A_FILL - 1))
    clock.now_ns += TTL_NS
    assert all(worth.missed(f"next-{number}") for number in range(FILLS_AT_FIRST_MAX))
    assert not worth.missed("others")
    assert worth.missed("acme")


def test_who_was_missed_long_ago_is_new() -> None:
    clock = FakeMonotonic()
    worth = busy(clock)
    assert not any(worth.missed("acme") for _ in range(MISSES_OF_A_FILL - 1))
    clock.now_ns += 2 * TTL_NS
    assert all(worth.missed(f"next-{number}") for number in range(FILLS_AT_FIRST_MAX))
    assert not worth.missed("acme")

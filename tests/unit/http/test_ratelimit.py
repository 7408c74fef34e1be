"""A minute's worth of requests per key."""

from abaxus_core.http.ratelimit import KEYS_MAX, SECOND_NS, WINDOW_NS, RateLimiter


class Clock:
    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def test_a_key_gets_its_limit_and_then_waits_for_the_window() -> None:
    clock = Clock()
    limiter = RateLimiter(2, clock)
    taken = [limiter.take("a") for _ in range(3)]
    assert [(each.allowed, each.remaining) for each in taken if each] == [
        (True, 1),
        (True, 0),
        (False, 0),
    ]
    clock.now_ns = WINDOW_NS - SECOND_NS
    late = limiter.take("a")
    assert late is not None
    assert (late.allowed, late.reset_s) == (False, 1)
    other = limiter.take("b")
    assert other is not None
    assert other.allowed
    clock.now_ns = WINDOW_NS
    fresh = limiter.take("a")
    assert fresh is not None
    assert (fresh.allowed, fresh.remaining, fresh.reset_s) == (True, 1, 60)


def test_zero_is_off() -> None:
    assert RateLimiter(0, Clock()).take("a") is None


def test_old_windows_do_not_pile_up() -> None:
    clock = Clock()
    limiter = RateLimiter(1, clock)
    for number in range(KEYS_MAX):
        limiter.take(str(number))
    clock.now_ns = WINDOW_NS
    limiter.take("one more")
    assert len(limiter._windows) == 1

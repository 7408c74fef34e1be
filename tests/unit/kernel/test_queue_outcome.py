from datetime import timedelta

import pytest

from abaxus_core.errors import NotFound
from abaxus_core.kernel.queue_outcome import (
    ERROR_LENGTH_MAX,
    RETRY_DELAY_MAX_MS,
    describe,
    retry_delay,
)


@pytest.mark.parametrize(("attempt", "middle_s"), [(1, 1), (2, 2), (5, 16), (13, 3600), (99, 3600)])
def test_delay_doubles_within_a_quarter(attempt: int, middle_s: int) -> None:
    delays = {retry_delay(attempt) for _ in range(200)}
    assert min(delays) >= timedelta(seconds=middle_s) * 3 / 4
    assert max(delays) <= timedelta(seconds=middle_s) * 5 / 4
    assert len(delays) > 10
    assert max(delays) <= timedelta(milliseconds=RETRY_DELAY_MAX_MS) * 5 / 4


def test_own_error_is_described_by_code_and_message() -> None:
    assert describe(NotFound("no such thing", code="THING_NOT_FOUND")) == (
        "THING_NOT_FOUND: no such thing"
    )


def test_foreign_error_is_described_with_where_it_arose_and_bounded() -> None:
    def fail() -> None:
        raise ValueError("x" * 10_000 + "\0end")

    with pytest.raises(ValueError, match="x") as raised:
        fail()
    described = describe(raised.value)
    assert len(described) == ERROR_LENGTH_MAX
    assert described.rstrip().endswith("xend")

from datetime import timedelta

import pytest

from abaxus_core.kernel.ids import Ids
from tests.support.clock import FakeClock


def test_id_is_prefix_and_lower_case_ulid(ids: Ids) -> None:
    made = ids.new("met")
    assert made.startswith("met_")
    assert len(made) == 30
    assert made == made.lower()


@pytest.mark.parametrize("entropy", [b"\x00" * 10, b"\xff" * 10])
def test_ids_of_one_millisecond_sort_as_made(clock: FakeClock, entropy: bytes) -> None:
    ids = Ids(clock, lambda _size: entropy)
    made = [ids.new("met") for _ in range(100)]
    assert made == sorted(set(made))


def test_later_ids_sort_after(clock: FakeClock) -> None:
    ids = Ids(clock)
    made = []
    for _ in range(100):
        made.append(ids.new("met"))
        clock.advance(timedelta(milliseconds=1))
    assert made == sorted(set(made))


def test_uuids_are_random_ones(ids: Ids) -> None:
    assert {ids.uuid4().version for _ in range(10)} == {4}
    assert len({ids.uuid4() for _ in range(10)}) == 10

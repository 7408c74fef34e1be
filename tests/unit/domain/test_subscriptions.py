from typing import Any

import pytest

from abaxus_core.domain.subscriptions import check_life
from abaxus_core.errors import InvalidInput
from tests.unit.domain.samples import APRIL, at


@pytest.mark.parametrize("end", [APRIL.start, at("2026-03-31")])
def test_a_life_ends_after_it_starts(end: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_life(APRIL.start, end)
    assert refused.value.field == "end_date"

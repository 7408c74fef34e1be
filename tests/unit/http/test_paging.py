"""Pages and the cursor between them."""

from datetime import UTC, datetime

import pytest

from abaxus_core.errors import InvalidInput
from abaxus_core.http.paging import encode_cursor, page, read_cursor


def test_a_page_is_cut_where_more_follows() -> None:
    assert page([1, 2], 2, lambda row: (row,)).next_cursor is None
    cut = page([1, 2, 3], 2, lambda row: (row,))
    assert cut.data == [1, 2]
    assert cut.next_cursor is not None
    assert read_cursor(cut.next_cursor, tuple[int]) == (2,)


def test_a_cursor_carries_values_there_and_back() -> None:
    at = datetime(2026, 4, 1, tzinfo=UTC)
    cursor = encode_cursor(at, "inv_1")
    assert cursor.isascii()
    assert "=" not in cursor
    assert read_cursor(cursor, tuple[datetime, str]) == (at, "inv_1")


@pytest.mark.parametrize(
    "text",
    ["x", "!!!!", "e30", encode_cursor("a"), encode_cursor(5, "a"), encode_cursor("a", "\0"), "é"],
)
def test_other_cursors_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_cursor(text, tuple[str, str])
    assert caught.value.field == "cursor"

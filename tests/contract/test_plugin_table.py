"""docs/plugins.md says what our plugins can do and how they pass, as it is now."""

import pytest

from tests.support.plugin_table import TABLES, Table


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.kind)
def test_the_table_is_what_make_plugin_table_writes(table: Table) -> None:
    assert table.shown() == table.made()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.kind)
def test_none_of_ours_fails_a_check(table: Table) -> None:
    assert "failed" not in table.shown()

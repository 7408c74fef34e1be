"""docs/plugins.md says what our payment plugins can do and how they pass, as it is now."""

from tests.support import plugin_table


def test_the_table_is_what_make_plugin_table_writes() -> None:
    assert plugin_table.shown() == plugin_table.table()


def test_none_of_ours_fails_a_check() -> None:
    assert "failed" not in plugin_table.shown()

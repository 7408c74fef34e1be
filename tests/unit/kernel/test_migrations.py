import pytest

from abaxus_core.errors import ConfigurationError
from abaxus_core.kernel.migrations import parse, released


def test_released_ones_are_numbered_without_a_gap() -> None:
    assert [migration.number for migration in released()] == list(range(1, len(released()) + 1))


def test_directives_are_the_first_lines() -> None:
    migration = parse(
        "0009_words",
        "-- abaxus: scope mode\n-- abaxus: breaking\n-- abaxus: no-transaction\nSELECT 1;\n",
    )
    assert migration.number == 9
    assert migration.schemas == ("abaxus_live", "abaxus_test")
    assert migration.breaking
    assert not migration.in_transaction


def test_checksum_is_of_the_text() -> None:
    first = parse("0001_a", "-- abaxus: scope control\nSELECT 1;")
    assert first.schemas == ("abaxus",)
    assert first.checksum != parse("0001_a", "-- abaxus: scope control\nSELECT 2;").checksum


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("0001_a", "SELECT 1;"),
        ("0001_a", "SELECT 1;\n-- abaxus: scope mode\n"),
        ("0001_a", "-- abaxus: scope everywhere\n"),
        ("0001_a", "-- abaxus: scope mode\n-- abaxus: scope control\n"),
        ("0001_a", "-- abaxus: scope mode\n-- abaxus: braking\n"),
        ("1_a", "-- abaxus: scope mode\n"),
        ("0001-a", "-- abaxus: scope mode\n"),
    ],
)
def test_bad_name_or_directive_is_refused(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse(name, text)

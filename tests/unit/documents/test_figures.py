"""Numbers, money and days: each digit kept, written as the locale has it."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from abaxus_core.domain.decimals import exact, plain
from abaxus_core.services.documents.figures import Figures

EN = Figures("en")


@pytest.mark.parametrize(
    ("locale", "written"),
    [
        ("en", "-1,234,567.50"),
        ("de", "-1.234.567,50"),
        ("fr", "-1\u202f234\u202f567,50"),
        ("hi", "-12,34,567.50"),
        ("de_CH", "-1'234'567.50"),
        ("sv", "-1\u00a0234\u00a0567,50"),
    ],
)
def test_a_locale_writes_amounts(locale: str, written: str) -> None:
    assert Figures(locale).amount(-123456750, "usd").replace("\u2212", "-") == written


@pytest.mark.parametrize(
    ("currency", "minor", "written"),
    [
        ("jpy", 15775, "15,775 JPY"),
        ("usd", 15775, "157.75 USD"),
        ("kwd", 15775, "15.775 KWD"),
        ("usd", 5, "0.05 USD"),
        ("usd", 0, "0.00 USD"),
        ("usd", -5, "-0.05 USD"),
        ("kwd", 9223372036854775807, "9,223,372,036,854,775.807 KWD"),
    ],
)
def test_money_has_the_decimals_of_its_currency(currency: str, minor: int, written: str) -> None:
    assert EN.money(minor, currency) == written


@pytest.mark.parametrize(
    "number",
    [
        "0",
        "1",
        "-1",
        "999",
        "1000",
        "0.0000000001",
        "1e3",
        "12345678901234567890123456789.0123456789",
    ],
)
def test_no_digit_is_lost(number: str) -> None:
    with exact():
        value = Decimal(number)
        assert EN.number(value).replace(",", "") == plain(value)


def test_a_column_has_one_count_of_decimals() -> None:
    assert EN.column([Decimal(0), Decimal("0.0001")]) == ["0.0000", "0.0001"]
    assert EN.column([Decimal(90)], 2) == ["90.00"]
    assert EN.column([]) == []


def test_days() -> None:
    start, end = datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)
    assert EN.day(start) == "April 1, 2026"
    assert Figures("de").day(start) == "1. April 2026"
    assert EN.span(start, end) == "Apr 1\u2009–\u200930, 2026"
    assert EN.span(start, datetime(2026, 4, 2, tzinfo=UTC)) == "Apr 1, 2026"
    assert EN.end(end) == "April 30, 2026"
    assert EN.end(datetime(2026, 4, 30, 12, 0, 1, tzinfo=UTC)) == "April 30, 2026, 12:00:01 UTC"


@pytest.mark.parametrize(("locale", "language"), [("en", "en"), ("pt_BR", "pt-BR")])
def test_the_language_of_a_page(locale: str, language: str) -> None:
    assert Figures(locale).language == language

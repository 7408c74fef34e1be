"""Numbers, money and days as a locale writes them (CLDR, through Babel); always exact.

Babel's own way of writing numbers is not used: it takes Swiss apostrophes for quotes.

An amount of money in words is `1,374.50 USD`: the code after the figure means one currency in
every country, which signs such as $ do not.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from babel import Locale
from babel.dates import format_date, format_interval, format_time
from babel.numbers import get_decimal_symbol, get_group_symbol, get_minus_sign_symbol

from abaxus_core.domain.decimals import plain
from abaxus_core.domain.money import exponent, from_minor

_INSTANT: Final = timedelta(microseconds=1)


class Figures:
    """One locale's hand, by its CLDR name: `en`, `de`, `pt_BR`."""

    def __init__(self, locale: str) -> None:
        self._locale = Locale.parse(locale)
        self._minus = get_minus_sign_symbol(self._locale)
        self._point = get_decimal_symbol(self._locale)
        self._comma = get_group_symbol(self._locale)
        self._group_sizes: tuple[int, int] = self._locale.decimal_formats[None].grouping
        self.language: Final = str(self._locale).replace("_", "-")
        """As HTML has it (BCP 47)."""

    def number(self, number: Decimal, decimals_min: int = 0) -> str:
        """Return every digit of a number, and zeros up to `decimals_min` decimals.

        >>> Figures("en").number(Decimal("1374923.50")), Figures("de").number(Decimal("0.00005"))
        ('1,374,923.5', '0,00005')
        >>> Figures("de_CH").number(Decimal(-1234567), 2), Figures("hi").number(Decimal(1234567))
        ("-1'234'567.00", '12,34,567')
        """
        digits = plain(number)
        whole, _, fraction = digits.lstrip("-").partition(".")
        fraction = fraction.ljust(decimals_min, "0")
        sign = self._minus if digits.startswith("-") else ""
        return f"{sign}{self._grouped(whole)}{self._point if fraction else ''}{fraction}"

    def column(self, numbers: Sequence[Decimal], decimals_min: int = 0) -> list[str]:
        """Return numbers that stand in a column: every digit of each, and as many decimals.

        >>> Figures("en").column([Decimal(90), Decimal("18.74615")])
        ['90.00000', '18.74615']
        """
        decimals = max((_decimals(plain(number)) for number in numbers), default=0)
        return [self.number(number, max(decimals, decimals_min)) for number in numbers]

    def amount(self, minor: int, currency: str) -> str:
        """Return minor units in major units, with the currency's decimals.

        >>> Figures("en").amount(-15775, "usd"), Figures("en").amount(1500, "jpy")
        ('-157.75', '1,500')
        """
        return self.number(from_minor(minor, currency), exponent(currency))

    def money(self, minor: int, currency: str) -> str:
        """Return an amount with its currency.

        >>> Figures("de").money(1234567, "kwd")
        '1.234,567 KWD'
        """
        return f"{self.amount(minor, currency)} {currency.upper()}"

    def day(self, instant: datetime) -> str:
        """Return the day, in UTC.

        >>> from datetime import UTC
        >>> Figures("en").day(datetime(2026, 5, 10, tzinfo=UTC))
        'May 10, 2026'
        """
        return format_date(instant.date(), "long", locale=self._locale)

    def span(self, start: datetime, end: datetime) -> str:
        """Return the days of a half-open period, first to last.

        >>> from datetime import UTC
        >>> Figures("en").span(datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC))
        'Apr 1\u2009–\u200930, 2026'
        """
        first, last = start.date(), (end - _INSTANT).date()
        return format_interval(first, last, "yMMMd", locale=self._locale)

    def end(self, end: datetime) -> str:
        """Return an end, excluded: the last day where it is a whole one, else day and time."""
        if end == end.replace(hour=0, minute=0, second=0, microsecond=0):
            return self.day(end - _INSTANT)
        return f"{self.day(end)}, {format_time(end, 'HH:mm:ss', locale=self._locale)} UTC"

    def _grouped(self, whole: str) -> str:
        """The groups from the right, the first of them of its own size: hi has 12,34,567."""
        size, later = self._group_sizes
        groups = []
        while len(whole) > size:
            whole, group = whole[:-size], whole[-size:]
            groups.append(group)
            size = later
        return self._comma.join([whole, *reversed(groups)])


def _decimals(digits: str) -> int:
    return len(digits.partition(".")[2])

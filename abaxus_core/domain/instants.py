"""Instants and days as callers write them: RFC 3339 with an offset, stored and answered in UTC."""

from datetime import UTC, date, datetime, time, timedelta

from abaxus_core.errors import InvalidInput

ONE_DAY = timedelta(days=1)
DAY_US = 86_400_000_000
AHEAD_MAX = timedelta(hours=24)

# Between these, period arithmetic of the longest billing period (366 years) cannot overflow.
INSTANT_MIN = datetime(1900, 1, 1, tzinfo=UTC)
INSTANT_MAX = datetime(9000, 1, 1, tzinfo=UTC)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def microseconds(instant: datetime) -> int:
    """Return whole microseconds since 2000-01-01 UTC, PostgreSQL's epoch, exactly.

    >>> microseconds(datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    since = instant - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def instant_of(microseconds: int) -> datetime:
    """Return the instant that many microseconds after 2000-01-01 UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def check_instant(instant: datetime, field: str | None = None) -> datetime:
    """Return an aware instant in UTC; InvalidInput when naive or outside the years 1900 to 9000."""
    if instant.tzinfo is None:
        raise InvalidInput("must carry an offset, such as Z", field=field)
    try:
        utc = instant.astimezone(UTC)
    except OverflowError as error:
        raise InvalidInput("is out of range", field=field) from error
    if not INSTANT_MIN <= utc < INSTANT_MAX:
        raise InvalidInput("must lie between the years 1900 and 9000", field=field)
    return utc


def parse_instant(text: str, field: str | None = None) -> datetime:
    """Return the UTC instant of an RFC 3339 text with an offset; InvalidInput otherwise.

    >>> parse_instant("2026-04-30T23:59:59+02:00").isoformat()
    '2026-04-30T21:59:59+00:00'
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput("is not an RFC 3339 timestamp", field=field) from error
    if not _has_rfc3339_form(text):
        raise InvalidInput("is not an RFC 3339 timestamp", field=field)
    return check_instant(instant, field)


def _has_rfc3339_form(text: str) -> bool:
    # fromisoformat takes more of ISO 8601 than RFC 3339 does: basic forms, weeks, bare hours.
    return (
        len(text) >= len("2026-04-30T00:00:00")
        and text[4] == text[7] == "-"
        and text[10] in "Tt "
        and text[13] == text[16] == ":"
    )


def parse_day(text: str, field: str | None = None) -> date:
    """Return the day of a `YYYY-MM-DD` text; InvalidInput otherwise."""
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput("is not a date", field=field) from error
    if text != day.isoformat():
        raise InvalidInput("is not a date of the form YYYY-MM-DD", field=field)
    check_instant(day_start(day), field)
    return day


def parse_day_or_instant(text: str, field: str | None = None) -> date | datetime:
    """Return a day for `YYYY-MM-DD`, else the UTC instant of a timestamp; InvalidInput otherwise.

    A datetime is a date to isinstance: ask for datetime first.
    """
    if len(text) == len("2026-04-30"):
        return parse_day(text, field)
    return parse_instant(text, field)


def day_start(day: date) -> datetime:
    """Return midnight UTC at which `day` starts."""
    return datetime.combine(day, time.min, tzinfo=UTC)


def day_end(day: date) -> datetime:
    """Return midnight UTC at which `day` ends."""
    return day_start(day) + ONE_DAY


def days_within(start: datetime, end: datetime) -> tuple[date, date]:
    """Return the UTC days that lie wholly in [start, end), as [first, after).

    Where there is none, an empty range behind the end.

    >>> first, after = days_within(datetime(2026, 4, 1, 6, tzinfo=UTC), day_end(date(2026, 4, 3)))
    >>> str(first), str(after)
    ('2026-04-02', '2026-04-04')
    """
    first = _day_from(start)
    after = end.astimezone(UTC).date()
    if first < after:
        return first, after
    beyond = _day_from(end)
    return beyond, beyond


def _day_from(instant: datetime) -> date:
    """The first UTC day that starts at or after the instant."""
    day = instant.astimezone(UTC).date()
    return day if day_start(day) == instant else day + ONE_DAY


def start_of(value: date | datetime) -> datetime:
    """Return the instant at which a start given as a day or an instant begins."""
    return value if isinstance(value, datetime) else day_start(value)


def end_of(value: date | datetime) -> datetime:
    """Return the exclusive end that a day (the whole of it) or an instant stands for.

    >>> end_of(date(2026, 4, 30)).isoformat()
    '2026-05-01T00:00:00+00:00'
    """
    return value if isinstance(value, datetime) else day_end(value)


def text_of(instant: datetime) -> str:
    """Return an instant as the API answers it: RFC 3339, UTC, `Z`, fractions only where needed.

    >>> text_of(datetime(2026, 4, 30, 12, tzinfo=UTC))
    '2026-04-30T12:00:00Z'
    """
    return instant.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"

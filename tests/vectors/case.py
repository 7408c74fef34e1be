"""One case of a vector file, what became of it, and how an expectation is compared."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Literal

import msgspec

from abaxus_core.domain.decimals import round_half_away
from abaxus_core.domain.instants import parse_instant
from tests.vectors.reasons import REASONS

Verdict = Literal["agree", "differ", "not applicable"]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A case as its file states it; keys that we do not look at are left out."""

    id: str
    kind: str
    input: dict[str, Any]
    expected: dict[str, Any]
    conventions: tuple[str, ...] = ()
    compare: dict[str, int] = msgspec.field(default_factory=dict)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`got` when the case differs, `reason` when it is not applicable."""

    case: Case
    verdict: Verdict
    got: str | None = None
    reason: str | None = None


class NotApplicable(Exception):
    """The case asks for what the product puts under Later, or contradicts a rule it states."""

    def __init__(self, reason: str) -> None:
        assert reason in REASONS, f"{reason} is not a listed reason"
        super().__init__(reason)
        self.reason = reason


def differences(case: Case, got: Mapping[str, Any]) -> list[str]:
    """Return the expected keys whose value is not what we got; an absent key is not checked."""
    return [
        key
        for key, expected in case.expected.items()
        if not key.endswith("_decimals") and not _agrees(case, key, expected, got.get(key))
    ]


def _agrees(case: Case, key: str, expected: Any, got: Any) -> bool:
    decimals = case.expected.get(f"{key}_decimals", case.compare.get(f"round_{key}_to"))
    if key == "groups":
        decimals = case.compare.get("round_value_to")
    return same(expected, got, decimals)


def same(expected: Any, got: Any, decimals: int | None = None) -> bool:
    """Return whether an expectation as JSON holds it is the value that we computed."""
    if expected is None or got is None or isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    if isinstance(got, datetime):
        return parse_instant(expected) == got
    if isinstance(got, date):
        return bool(expected == got.isoformat())
    if isinstance(got, Fraction):
        return Fraction(expected) == got
    if isinstance(got, Decimal | int):
        return _same_number(expected, Decimal(got), decimals)
    if isinstance(expected, Mapping):
        return all(same(value, got.get(key), decimals) for key, value in expected.items())
    if isinstance(expected, Sequence) and not isinstance(expected, str):
        return len(expected) == len(got) and all(
            same(one, other, decimals) for one, other in zip(expected, got, strict=True)
        )
    return bool(expected == got)


def _same_number(expected: Any, got: Decimal, decimals: int | None) -> bool:
    try:
        wanted = Decimal(str(expected))
    except InvalidOperation:
        return False
    if decimals is None:
        return wanted == got
    return round_half_away(wanted, decimals) == round_half_away(got, decimals)

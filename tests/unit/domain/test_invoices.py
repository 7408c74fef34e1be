from decimal import Decimal
from typing import get_args

import pytest

from abaxus_core.domain.invoices import (
    InvoiceStatus,
    Line,
    check_transition,
    draft,
    number_text,
)
from abaxus_core.errors import IllegalTransition
from tests.unit.domain.samples import APRIL, MAY


def line(amount_minor: int) -> Line:
    return Line(
        kind="usage",
        description="calls",
        exact_amount=Decimal(amount_minor) / 100,
        amount_minor=amount_minor,
        period_start=APRIL.start if amount_minor < 0 else MAY.start,
        period_end=APRIL.end if amount_minor < 0 else MAY.end,
    )


@pytest.mark.parametrize(
    ("amounts", "credit", "total", "change", "applied"),
    [
        ([10875, 4900], 0, 15775, 0, []),
        ([10875, 4900], 5000, 10775, -5000, [-5000]),
        ([4900], 5000, 0, -4900, [-4900]),
        ([4900, -6000], 0, 0, 1100, [1100]),
        ([4900, -6000], 500, 0, 1100, [1100]),
        ([4900, -4900], 500, 0, 0, []),
        ([0], 500, 0, 0, []),
    ],
)
def test_credit_is_taken_first_or_carried(
    amounts: list[int], credit: int, total: int, change: int, applied: list[int]
) -> None:
    made = draft([line(amount) for amount in amounts], currency="usd", credit_minor=credit)
    assert made.total_minor == total == sum(each.amount_minor for each in made.lines)
    assert made.credit_change_minor == change
    visible = [each for each in made.lines if each.kind == "credit_applied"]
    assert [each.amount_minor for each in visible] == applied
    assert [each.exact_amount * 100 for each in visible] == applied


def test_an_invoice_spans_its_lines() -> None:
    made = draft([line(100), line(-50)], currency="usd", credit_minor=0)
    assert (made.period_start, made.period_end) == (APRIL.start, MAY.end)


@pytest.mark.parametrize("current", get_args(InvoiceStatus))
@pytest.mark.parametrize("to", get_args(InvoiceStatus))
def test_only_an_issued_invoice_moves(current: InvoiceStatus, to: InvoiceStatus) -> None:
    if current == "issued" and to != "issued":
        check_transition(current, to)
        return
    with pytest.raises(IllegalTransition) as refused:
        check_transition(current, to)
    assert refused.value.code == "INVALID_STATE"


def test_numbers_grow_beyond_six_digits() -> None:
    assert [number_text(n) for n in (1, 999999, 1000000)] == [
        "INV-000001",
        "INV-999999",
        "INV-1000000",
    ]

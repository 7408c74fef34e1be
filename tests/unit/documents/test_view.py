"""What a document shows of an invoice: once, for HTML, text and PDF alike."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from abaxus_core.domain.pricing import Step
from abaxus_core.services.documents.figures import Figures
from abaxus_core.services.documents.view import Manner, present
from abaxus_core.services.documents.words import ENGLISH
from tests.support.documents import APRIL, MAY, credit, line, subject, tier

MANNER = Manner(words=ENGLISH, figures=Figures("en"), rows_max=100)


def view(*lines, rows_max=100, **fields):
    about = subject(lines, **fields)
    manner = msgspec.structs.replace(MANNER, rows_max=rows_max)
    return present(about.invoice, about.parties, manner)


def test_the_head() -> None:
    shown = view(line(15775))
    assert (shown.title, shown.issued) == ("Invoice INV-000042", "May 2, 2026")
    assert (shown.cutoff, shown.total) == ("April 30, 2026", "157.75 USD")
    assert (shown.subtotal, shown.credits, shown.lines_left_out) == ("", (), 0)


def priced(quantity: int, unit_price: str, **fields: object) -> Step:
    return Step(quantity=Decimal(quantity), unit_price=Decimal(unit_price), **fields)


def test_a_line_of_one_price_shows_it() -> None:
    step = priced(500_000, "0.0002")
    (shown,) = view(line(10000, quantity=Decimal(500_000), step=step)).lines
    assert (shown.quantity, shown.unit_price, shown.amount) == ("500,000", "0.0002", "100.00")


def test_a_price_may_be_as_long_as_prices_are() -> None:
    step = priced(3, "9999999999999999999999999999.9999999999")
    (shown,) = view(line(1, quantity=Decimal(3), step=step)).lines
    assert shown.unit_price == "9,999,999,999,999,999,999,999,999,999.9999999999"


def test_packages_are_told_with_their_price() -> None:
    step = priced(2, "8", package_size=Decimal(1000), free_units=Decimal(100))
    (shown,) = view(line(1600, pricing_model="package", quantity=Decimal(1500), step=step)).lines
    assert (shown.quantity, shown.unit_price) == ("1,500", "")
    assert shown.details == ("2 packages of 1,000 at 8.00",)


def test_what_is_owed_no_longer_has_no_price() -> None:
    (shown,) = view(line(-100, owed_minor=0, previously_billed_minor=100)).lines
    assert shown.unit_price == ""


def test_a_fee_counts_nothing() -> None:
    (shown,) = view(
        line(4900, kind="flat_fee", pricing_model="flat_fee", metric_key=None, quantity=Decimal(1))
    ).lines
    assert (shown.quantity, shown.unit_price, shown.amount) == ("", "", "49.00")


def test_tiers_stand_in_columns() -> None:
    tiers = (
        tier(1, up_to=Decimal(100_000), quantity=Decimal(100_000)),
        tier(
            2, quantity=Decimal(374_923), unit_price=Decimal("0.00005"), amount=Decimal("18.74615")
        ),
    )
    (shown,) = view(line(1875, pricing_model="tiered", tier_breakdown=tiers)).lines
    assert [msgspec.structs.astuple(one) for one in shown.tiers] == [
        ("Tier 1, up to 100,000", "100,000", "0.00000", "0.00000"),
        ("Tier 2", "374,923", "0.00005", "18.74615"),
    ]


def test_a_flat_amount_of_a_tier_is_named() -> None:
    tiers = (tier(3, flat_amount=Decimal(5), amount=Decimal(5)),)
    (shown,) = view(line(500, pricing_model="volume", tier_breakdown=tiers)).lines
    assert shown.tiers[0].description == "Tier 3, plus 5.00 flat"


def test_what_was_billed_before_is_told() -> None:
    adjusted = line(
        812,
        kind="adjustment",
        period_start=datetime(2026, 3, 1, tzinfo=UTC),
        period_end=APRIL,
        owed_minor=81235,
        previously_billed_minor=80423,
    )
    (shown,) = view(adjusted).lines
    assert shown.details == (
        "Mar 1\u2009–\u200931, 2026",
        "Adjustment of an earlier invoice",
        "812.35 USD in all, 804.23 USD of it billed before",
    )


def test_a_line_names_its_days_where_they_are_not_the_invoices() -> None:
    change = datetime(2026, 4, 11, tzinfo=UTC)
    lines = (
        line(segment_start=APRIL, segment_end=MAY),
        line(segment_start=APRIL, segment_end=change),
        line(segment_start=APRIL, segment_end=MAY, window_end=change, watermark=1),
        line(segment_start=change, segment_end=MAY, window_end=change),
        line(segment_start=change, segment_end=MAY, window_end=change, watermark=1),
    )
    early, late = ("Apr 1\u2009–\u200910, 2026",), ("Apr 11\u2009–\u200930, 2026",)
    assert [one.details for one in view(*lines).lines] == [(), early, early, late, ()]


def test_credit_stands_between_subtotal_and_total() -> None:
    shown = view(line(10000), credit(-2500))
    assert len(shown.lines) == 1
    assert (shown.subtotal, shown.total) == ("100.00", "75.00 USD")
    assert [msgspec.structs.astuple(one) for one in shown.credits] == [("Credit applied", "-25.00")]
    carried = view(line(-10000), credit(10000))
    assert [one.description for one in carried.credits] == ["Credit carried forward"]
    assert (carried.subtotal, carried.total) == ("-100.00", "0.00 USD")


def test_beyond_the_bound_tiers_go_first_and_lines_next() -> None:
    lines = [line(tier_breakdown=(tier(1), tier(2))) for _ in range(4)]
    whole = view(*lines, rows_max=12)
    assert [len(one.tiers) for one in whole.lines] == [2, 2, 2, 2]
    without = view(*lines, rows_max=11)
    assert ([len(one.tiers) for one in without.lines], without.tiers_left_out) == ([0] * 4, True)
    cut = view(*lines, rows_max=3)
    assert (len(cut.lines), cut.lines_left_out, cut.total) == (3, 1, "4.00 USD")


def test_payment_is_no_part_of_it() -> None:
    paid = {"status": "paid", "paid_at": subject().invoice.created_at}
    assert view(line(100)) == view(line(100), **paid)

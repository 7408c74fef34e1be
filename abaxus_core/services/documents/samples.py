"""Invoices that nobody owes, with all that a document can have, to try an operator's templates."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from abaxus_core.domain.invoices import Invoice, Line
from abaxus_core.domain.parties import Buyer, Parties, Seller
from abaxus_core.domain.pricing import TierShare
from abaxus_core.services.documents.making import Subject

_START: Final = datetime(2026, 4, 1, tzinfo=UTC)
_END: Final = datetime(2026, 5, 1, tzinfo=UTC)

_FREE: Final = TierShare(
    tier=1,
    up_to=Decimal(100_000),
    quantity=Decimal(100_000),
    unit_price=Decimal(0),
    flat_amount=Decimal(0),
    amount=Decimal(0),
)
_PRICED: Final = TierShare(
    tier=2,
    up_to=None,
    quantity=Decimal(274_923),
    unit_price=Decimal("0.0001"),
    flat_amount=Decimal(5),
    amount=Decimal("32.4923"),
)
_LINES: Final = (
    Line(
        kind="usage",
        description="API calls",
        exact_amount=Decimal("32.4923"),
        amount_minor=3249,
        pricing_model="tiered",
        metric_key="api_calls",
        period_start=_START,
        period_end=_END,
        quantity=Decimal(374_923),
        owed_minor=3249,
        previously_billed_minor=0,
        tier_breakdown=(_FREE, _PRICED),
    ),
    Line(
        kind="adjustment",
        description="Base fee <b>&amp;</b>",
        exact_amount=Decimal("-5.00"),
        amount_minor=-500,
        pricing_model="flat_fee",
        period_start=_START,
        period_end=_END,
        quantity=Decimal(1),
        owed_minor=4400,
        previously_billed_minor=4900,
    ),
    Line(kind="credit_applied", description="Credit applied", amount_minor=-749),
)


def _invoice(lines: tuple[Line, ...]) -> Invoice:
    return Invoice(
        id="inv_sample",
        number=1,
        customer_no=1,
        customer_id="sample",
        customer_sequence=1,
        status="issued",
        currency="usd",
        total_minor=sum(line.amount_minor for line in lines),
        period_start=_START,
        period_end=_END,
        cutoff=_END,
        created_at=_END,
        lines=lines,
    )


FULL: Final = Subject(
    invoice=_invoice(_LINES),
    parties=Parties(
        seller=Seller(
            name="Seller & <b>Sons</b>",
            address=("1 Main Street", "Springfield"),
            tax_id="XX 123",
            email="billing@seller.example",
            note="Payable within 14 days.",
        ),
        buyer=Buyer(id="sample", name="Sample & <i>Söhne</i>", email="payer@customer.example"),
    ),
    test=True,
)
BARE: Final = Subject(
    invoice=_invoice(_LINES[:1]),
    parties=Parties(seller=Seller(), buyer=Buyer(id="sample", name=None, email=None)),
    test=False,
)

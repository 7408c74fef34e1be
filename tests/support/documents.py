"""Invoices to make documents of, without a database, and what stands in a PDF."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import pypdf

from abaxus_core.domain.invoices import Invoice, Line
from abaxus_core.domain.money import from_minor
from abaxus_core.domain.parties import Buyer, Parties, Seller
from abaxus_core.domain.pricing import TierShare
from abaxus_core.services.documents.making import Documents, Subject
from tests.support.metering import shared_of

APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)
SETTINGS = {
    "DATABASE_URL": "postgresql://nowhere",
    "API_MASTER_KEY": "m" * 32,
}
SELLER = Seller(
    name="Seller GmbH",
    address=("Hauptstraße 1", "10115 Berlin", "Germany"),
    tax_id="DE123456789",
    email="billing@seller.example",
    note="Please pay within 14 days.",
)
ACME = Buyer(id="acme", name="Acme & Söhne", email="payer@customer.example")


def documents(**settings: object) -> Documents:
    """As a process has them; a setting that is None is not set."""
    environ = SETTINGS | settings
    return shared_of({name: str(text) for name, text in environ.items() if text}).documents


def tier(number: int = 1, **fields: object) -> TierShare:
    given = {
        "tier": number,
        "up_to": None,
        "quantity": Decimal(1),
        "unit_price": Decimal(0),
        "flat_amount": Decimal(0),
        "amount": Decimal(0),
    }
    return TierShare(**(given | fields))


def line(amount_minor: int = 100, description: str = "API calls", **fields: object) -> Line:
    given = {
        "kind": "usage",
        "description": description,
        "amount_minor": amount_minor,
        "exact_amount": Decimal(amount_minor) / 100,
        "metric_key": "api_calls",
        "pricing_model": "per_unit",
        "period_start": APRIL,
        "period_end": MAY,
        "quantity": Decimal(100),
        "owed_minor": amount_minor,
        "previously_billed_minor": 0,
    }
    return Line(**(given | fields))


def credit(amount_minor: int, currency: str = "usd") -> Line:
    return Line(
        kind="credit_applied",
        description="Credit applied",
        amount_minor=amount_minor,
        exact_amount=from_minor(amount_minor, currency),
    )


def subject(
    lines: Sequence[Line] = (),
    *,
    currency: str = "usd",
    buyer: Buyer = ACME,
    seller: Seller = SELLER,
    test: bool = False,
    **fields: object,
) -> Subject:
    """An invoice of the lines, or of one."""
    lines = tuple(lines) or (line(),)
    given = {
        "id": "inv_1",
        "number": 42,
        "customer_no": 1,
        "customer_id": "acme",
        "customer_sequence": 1,
        "status": "issued",
        "currency": currency,
        "total_minor": sum(one.amount_minor for one in lines),
        "period_start": APRIL,
        "period_end": MAY,
        "cutoff": MAY,
        "created_at": datetime(2026, 5, 2, 9, 30, tzinfo=UTC),
        "lines": lines,
    }
    parties = Parties(seller=seller, buyer=buyer)
    return Subject(invoice=Invoice(**(given | fields)), parties=parties, test=test)


def pages_of(pdf: bytes) -> list[str]:
    """The text of each page, what makes words break aside."""
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    return [page.extract_text().replace("\u200b", "") for page in reader.pages]

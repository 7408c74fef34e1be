"""The PDF: every word and figure of the view, the same bytes each time, in bounded memory."""

import hashlib
import io
import os
import subprocess
import sys
from decimal import Decimal

import pypdf
import pytest

from abaxus_core.domain.parties import Buyer, Seller
from abaxus_core.services.documents.making import ROWS_MAX
from tests.support.documents import credit, documents, line, pages_of, subject, tier

TIERS = (
    tier(1, up_to=Decimal(100_000), quantity=Decimal(100_000)),
    tier(2, quantity=Decimal(374_923), unit_price=Decimal("0.00005"), amount=Decimal("18.74615")),
)
FULL = subject(
    [
        line(1875, "Requests", pricing_model="tiered", tier_breakdown=TIERS),
        line(-633, "Base fee, credit for 10 of 30 days", kind="proration_credit"),
        credit(-42),
    ]
)

DIGEST = """
import hashlib
from tests.unit.documents.test_pdf import FULL
from tests.support.documents import documents
print(hashlib.sha256(documents().make_pdf(FULL)).hexdigest())
"""

MEMORY = """
import psutil
from tests.support.documents import documents, line, subject
press = documents()
def resident_after(first, last):
    for number in range(first, last):
        lines = [line(number * 1000 + place) for place in range(300)]
        press.make_pdf(subject(lines, number=number))
    return psutil.Process().memory_info().rss
before = resident_after(1, 4)
print((resident_after(4, 18) - before) >> 20)
"""


def in_process(code: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_everything_stands_in_it() -> None:
    (text,) = pages_of(documents().make_pdf(FULL))
    for shown in (
        "Seller GmbH",
        "10115 Berlin",
        "DE123456789",
        "billing@seller.example",
        "Acme & Söhne",
        "payer@customer.example",
        "Customer ID acme",
        "INV-000042",
        "May 2, 2026",
        "April 30, 2026",
        "Requests",
        "Tier 1, up to 100,000",
        "0.00005",
        "18.74615",
        "18.75",
        "Base fee, credit for 10 of 30 days",
        "-6.33",
        "Subtotal",
        "12.42",
        "-0.42",
        "12.00 USD",
        "Please pay within 14 days.",
        "Page 1 of 1",
    ):
        assert shown in text, shown


def test_the_same_invoice_is_the_same_bytes_here_and_elsewhere() -> None:
    ours = documents()
    first = ours.make_pdf(FULL)
    ours.make_pdf(subject(number=43))
    assert ours.make_pdf(FULL) == first
    elsewhere = in_process(DIGEST, TZ="Pacific/Auckland", LC_ALL="C", PYTHONHASHSEED="7")
    assert elsewhere == hashlib.sha256(first).hexdigest()


def test_its_date_is_the_invoices_and_its_fonts_are_within() -> None:
    reader = pypdf.PdfReader(io.BytesIO(documents().make_pdf(FULL)))
    assert reader.metadata is not None
    assert reader.metadata.creation_date == FULL.invoice.created_at
    assert (reader.metadata.title, reader.metadata.author) == ("Invoice INV-000042", "Seller GmbH")
    fonts = reader.pages[0]["/Resources"]["/Font"].values()
    descriptors = [font.get_object()["/DescendantFonts"][0]["/FontDescriptor"] for font in fonts]
    assert [any(key.startswith("/FontFile") for key in one) for one in descriptors] == [True] * 2


def test_a_long_invoice_repeats_its_heads_and_counts_its_pages() -> None:
    lines = [line(number, f"Line {number} of many") for number in range(1, 401)]
    pages = pages_of(documents().make_pdf(subject(lines)))
    assert len(pages) > 5
    for number, text in enumerate(pages, start=1):
        assert f"Page {number} of {len(pages)}" in text
        for head in ("Description", "Quantity", "Unit price", "Amount"):
            assert text.count(head) == 1
        assert text.count("Invoice INV-000042") == (number > 1)
    text = "\n".join(pages)
    assert [number for number in range(1, 401) if f"Line {number} of many" not in text] == []
    assert "802.00 USD" in pages[-1]


@pytest.mark.parametrize(
    ("currency", "total"), [("jpy", "15,775 JPY"), ("usd", "157.75 USD"), ("kwd", "15.775 KWD")]
)
def test_the_decimals_are_the_currencys(currency: str, total: str) -> None:
    (text,) = pages_of(documents().make_pdf(subject([line(15775)], currency=currency)))
    assert total in text


def test_markup_is_text() -> None:
    markup = '*bold* #sys.version $x$ `raw` @ref <label> \\ " // [a] = _b_'
    buyer = Buyer(id="acme", name=markup, email=None)
    (text,) = pages_of(documents().make_pdf(subject([line(100, markup)], buyer=buyer)))
    assert " ".join(text.split()).count(markup) == 2


def test_latin_greek_and_cyrillic_are_covered_and_the_rest_does_no_harm() -> None:
    described = "Żółć ñ ő ğ ş ț · Ζωή · Проверка ї ђ"
    (text,) = pages_of(documents().make_pdf(subject([line(100, described)])))
    assert described in " ".join(text.split())
    for strange in ("請求書 청구서", "حساب חשבון", "🧾 \u200b \x01 \u202e", "a\nb\tc"):
        assert "1.00 USD" in pages_of(documents().make_pdf(subject([line(100, strange)])))[0]


def test_long_texts_stay_in_their_column() -> None:
    words = " ".join(f"word{number}" for number in range(100))
    unbroken = "W" * 300
    pdf = documents().make_pdf(subject([line(100, words), line(100, unbroken)]))
    (text,) = pages_of(pdf)
    assert unbroken in text.replace("\n", "")
    assert max(map(len, text.splitlines())) < 80


def test_the_longest_figures_are_whole() -> None:
    quantity = Decimal("9999999999999999999999999999.0123456789")
    widest = line(92233720368547, quantity=quantity, pricing_model="package")
    (text,) = pages_of(documents().make_pdf(subject([widest])))
    assert "9,999,999,999,999,999,999,999,999,999.0123456789" in text
    assert "922,337,203,685.47 USD" in text


def test_a_page_of_one_locale() -> None:
    (text,) = pages_of(documents(DOCUMENT_LOCALE="de").make_pdf(subject([line(123456789)])))
    assert "1.234.567,89 USD" in text
    assert "2. Mai 2026" in text


def test_a_test_invoice_says_so() -> None:
    (text,) = pages_of(documents().make_pdf(subject(test=True)))
    assert "Test document. Nothing is owed." in text
    assert "Test document" not in pages_of(documents().make_pdf(subject()))[0]


def test_without_a_seller_or_a_name() -> None:
    bare = subject(buyer=Buyer(id="acme", name=None, email=None), seller=Seller())
    (text,) = pages_of(documents().make_pdf(bare))
    assert "Seller" not in text
    assert "acme" in text


def test_as_many_lines_as_a_document_holds() -> None:
    lines = [line(100, f"Line {number};") for number in range(1, ROWS_MAX + 1)]
    pages = pages_of(documents().make_pdf(subject(lines)))
    assert f"Line {ROWS_MAX};" in pages[-1]
    assert sum(page.count("Line ") for page in pages) == ROWS_MAX


def test_what_was_made_is_not_kept() -> None:
    """Fourteen documents of 300 rows leave less behind than two of them take while they are set.

    Typst alone would keep ten, some 150 MB.
    """
    assert int(in_process(MEMORY)) < 25

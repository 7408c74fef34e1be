"""The page and the mail's own text: escaped, complete, and fetching nothing."""

import base64
import hashlib
import re

from abaxus_core.domain.parties import Buyer, Seller
from abaxus_core.services.documents.making import MAIL_ROWS_MAX
from tests.support.documents import credit, documents, line, subject, tier

EVIL = '<script>alert(1)</script> & "Söhne" {{ 7 * 7 }} \'\u202e'


def page_of(about, **settings: object) -> str:
    return documents(**settings).make_page(about).content.decode()


def test_everything_stands_in_it() -> None:
    tiers = (tier(1), tier(2))
    page = page_of(subject([line(1875, "Requests", tier_breakdown=tiers), credit(-75)]))
    for shown in (
        '<html lang="en">',
        "Seller GmbH",
        "Hauptstraße 1",
        "10115 Berlin",
        "DE123456789",
        "billing@seller.example",
        "Acme &amp; Söhne",
        "payer@customer.example",
        "INV-000042",
        "May 2, 2026",
        "Requests",
        "Tier 1",
        "Subtotal",
        "-0.75",
        "18.00 USD",
        "Please pay within 14 days.",
    ):
        assert shown in page, shown


def test_what_a_customer_wrote_is_text() -> None:
    buyer = Buyer(id="acme", name=EVIL, email=EVIL)
    about = subject([line(100, EVIL)], buyer=buyer)
    letter = documents().make_letter(about)
    for page in (page_of(about), letter.html):
        assert "<script" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;Söhne&#34; {{ 7 * 7 }}" in page
    assert EVIL in letter.text


def test_nothing_is_fetched_and_the_policy_names_the_style() -> None:
    page = documents().make_page(subject())
    text = page.content.decode()
    for fetched in ("http:", "https:", "src=", "href=", "@import", "url(", "<script", " style="):
        assert fetched not in text
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert page.style == f"sha256-{digest}"


def test_a_locale_and_its_language() -> None:
    page = page_of(subject([line(123456789)]), DOCUMENT_LOCALE="pt_BR")
    assert '<html lang="pt-BR">' in page
    assert "1.234.567,89 USD" in page
    assert "2 de maio de 2026" in page


def test_a_test_invoice_says_so() -> None:
    about = subject(test=True)
    letter = documents().make_letter(about)
    for text in (page_of(about), letter.text, letter.html):
        assert "Test document. Nothing is owed." in text


def test_a_mail_says_who_writes_and_what_is_due() -> None:
    letter = documents().make_letter(subject([line(15775)]))
    assert letter.subject == "Invoice INV-000042 from Seller GmbH"
    for text in (letter.text, letter.html):
        for shown in ("Amount due: 157.75 USD", "10115 Berlin", "DE123456789", "attached"):
            assert shown in text


def test_a_mail_of_a_paid_or_empty_invoice_asks_for_nothing() -> None:
    paid = subject(status="paid", paid_at=subject().invoice.created_at)
    assert "Paid on May 2, 2026. Nothing is due." in documents().make_letter(paid).text
    nothing = subject([line(100), credit(-100)])
    assert "\nNothing is due.\n" in documents().make_letter(nothing).text


def test_a_mail_without_a_seller() -> None:
    letter = documents().make_letter(subject(seller=Seller()))
    assert letter.subject == "Invoice INV-000042"


def test_a_mail_of_a_long_invoice_is_short() -> None:
    lines = [line(100, f"Line {number};") for number in range(1, MAIL_ROWS_MAX + 8)]
    letter = documents().make_letter(subject(lines))
    for text in (letter.text, letter.html):
        assert f"Line {MAIL_ROWS_MAX};" in text
        assert f"Line {MAIL_ROWS_MAX + 1};" not in text
        assert "7 more lines are in the attached PDF." in text
        assert "107.00 USD" in text

"""MIME made by the contract's one builder."""

import email
import email.policy
from datetime import UTC, datetime

import msgspec
import pytest

from abaxus_core.plugin.email import Attachment, EmailMessage, is_mail_address, mime

MESSAGE = EmailMessage(
    message_id="<eml_1@seller.example>",
    date=datetime(2026, 5, 10, 12, tzinfo=UTC),
    sender="billing@seller.example",
    sender_name="Müller, Söhne & Co",
    recipient="payer@customer.example",
    subject="Rechnung für März, " * 20 + "Ende",
    text="grüße\n" + "x" * 3000 + "\n.\nFrom here\n",
    html="<p>grüße",
    headers=(("Auto-Submitted", "auto-generated"),),
    attachments=(
        Attachment(filename="Rechnung März.pdf", media_type="application/pdf", content=b"%PDF\xff"),
    ),
)


def test_what_goes_in_comes_out():
    parsed = email.message_from_bytes(mime(MESSAGE), policy=email.policy.default)

    assert parsed["From"].addresses[0].display_name == MESSAGE.sender_name
    assert parsed["Subject"] == MESSAGE.subject
    assert parsed["Message-ID"] == MESSAGE.message_id
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert parsed.get_body(("plain",)).get_content().replace("\r\n", "\n") == MESSAGE.text
    assert parsed.get_body(("html",)).get_content().strip() == MESSAGE.html
    (attached,) = parsed.iter_attachments()
    assert attached.get_filename() == "Rechnung März.pdf"
    assert attached.get_content() == b"%PDF\xff"


def test_the_same_message_gives_the_same_seven_bit_bytes():
    content = mime(MESSAGE)

    assert content == mime(MESSAGE)
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert b"\n" not in content.replace(b"\r\n", b"")


@pytest.mark.parametrize("field", ["subject", "sender_name", "recipient", "message_id"])
def test_a_line_break_never_becomes_a_header(field):
    smuggled = msgspec.structs.replace(MESSAGE, **{field: "a@b.example\r\nBcc: x@y.example"})
    try:
        content = mime(smuggled)
    except ValueError:
        return
    assert email.message_from_bytes(content)["Bcc"] is None


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("a@b.example", True),
        ("first.last+tag@sub.b.example", True),
        ("a@b.example\nBcc: c@d.example", False),
        ("A <a@b.example>", False),
        ("a@b.example, c@d.example", False),
        ("a b@c.example", False),
        ("@b.example", False),
        ("a@", False),
        ("a", False),
        ("", False),
        ("a" * 250 + "@b.example", False),
    ],
)
def test_what_is_a_mail_address(text, good):
    assert is_mail_address(text) is good

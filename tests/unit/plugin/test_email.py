"""MIME made by the contract's one builder."""

import email
import email.policy
from datetime import UTC, datetime

import msgspec
import pytest

from abaxus_core.plugin.email import (
    Attachment,
    EmailMessage,
    Unsendable,
    bounded,
    detail_of,
    is_mail_address,
    mailbox,
    mime,
)
from abaxus_core.plugin.settings import Secret

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


@pytest.mark.parametrize("field", ["subject", "sender_name", "sender", "recipient", "message_id"])
@pytest.mark.parametrize("smuggled", ["a@b.example\r\nBcc: x@y.example", "a@b.example\n", "a\0b"])
def test_a_line_break_never_becomes_a_header(field, smuggled):
    with pytest.raises(Unsendable) as refused:
        mime(msgspec.structs.replace(MESSAGE, **{field: smuggled}))
    outcome = refused.value.outcome()
    assert (outcome.status, outcome.code, outcome.scope) == ("rejected", "malformed", "content")
    assert "y.example" not in repr(outcome)


@pytest.mark.parametrize(
    "changed",
    [
        {"headers": (("X-A", "b\r\nBcc: x@y.example"),)},
        {"headers": (("X-A: b\r\nBcc", "x@y.example"),)},
        {"headers": (("X A", "b"),)},
        {"recipient": "a@b.example, c@d.example"},
        {"message_id": "eml_1"},
        {"attachments": (Attachment(filename="a\nb", media_type="text/plain", content=b""),)},
        {"attachments": (Attachment(filename="a", media_type="text/plain; x=y", content=b""),)},
    ],
)
def test_what_is_no_mail(changed):
    with pytest.raises(Unsendable):
        mime(msgspec.structs.replace(MESSAGE, **changed))


def test_long_names_and_addresses_stay_whole_in_short_lines():
    domain = ".".join(["d" * 60] * 3)
    long = msgspec.structs.replace(
        MESSAGE,
        message_id=f"<{'m' * 60}@{domain}>",
        sender=f"{'s' * 60}@{domain}",
        subject="Y" * 2000,
        attachments=(
            Attachment(
                filename=f"Rechnung {'ä' * 200}.pdf", media_type="application/pdf", content=b"%"
            ),
        ),
    )
    content = mime(long)
    parsed = email.message_from_bytes(content, policy=email.policy.default)
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert parsed["Message-ID"] == long.message_id
    assert parsed["From"].addresses[0].addr_spec == long.sender
    assert parsed["Subject"] == long.subject
    assert [part.get_filename() for part in parsed.iter_attachments()] == [
        long.attachments[0].filename
    ]


def test_a_mailbox_quotes_what_would_be_two():
    assert mailbox("a@b.example", "Müller, Söhne") == '"Müller, Söhne" <a@b.example>'
    assert mailbox("a@b.example", None) == "a@b.example"


def test_what_a_service_said_is_kept_without_addresses_and_secrets():
    said = "550 5.1.1 <a@b.example>,\r\n c+d@e.example: key sk_hunter2\x00 is wrong " + "x" * 900
    kept = detail_of(said, Secret("sk_hunter2"), None)
    assert kept.startswith("550 5.1.1 <address>, <address>: key *** is wrong xxx")
    assert len(kept) == 500


def test_more_than_a_service_takes_is_refused():
    assert bounded(b"12", 2) == b"12"
    with pytest.raises(Unsendable) as refused:
        bounded(b"123", 2)
    assert refused.value.code == "too_large"


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

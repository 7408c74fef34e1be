"""Whatever a mail says, its MIME is short-lined ASCII that says the same, and nothing more."""

import email
import email.policy
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from abaxus_core.plugin.email import Attachment, EmailMessage, mime

HEADER_TEXT = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\x85"),
    min_size=1,
    max_size=300,
)
BODY = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=2000)
ATTACHMENT = st.builds(
    Attachment,
    filename=HEADER_TEXT.map(str.strip).filter(bool),
    media_type=st.sampled_from(["application/pdf", "text/csv", "application/octet-stream"]),
    content=st.binary(max_size=3000),
)
MESSAGE = st.builds(
    EmailMessage,
    message_id=st.just("<eml_1@seller.example>"),
    date=st.just(datetime(2026, 5, 10, 12, tzinfo=UTC)),
    sender=st.just("billing@seller.example"),
    sender_name=st.none() | HEADER_TEXT,
    recipient=st.just("payer@customer.example"),
    subject=HEADER_TEXT,
    text=BODY,
    html=BODY,
    attachments=st.lists(ATTACHMENT, max_size=2).map(tuple),
)
KNOWN = {"from", "to", "subject", "date", "message-id", "mime-version", "content-type"}


def lines(text: str) -> list[str]:
    """As mail has them: a lone carriage return ends one, too."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")


@given(MESSAGE)
def test_what_goes_in_comes_out(message: EmailMessage) -> None:
    content = mime(message)
    assert content == mime(message)
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert b"\n" not in content.replace(b"\r\n", b"")

    parsed = email.message_from_bytes(content, policy=email.policy.default)
    assert {name.lower() for name in parsed} == KNOWN
    assert [address.addr_spec for address in parsed["To"].addresses] == [message.recipient]
    assert [address.addr_spec for address in parsed["From"].addresses] == [message.sender]
    assert " ".join(parsed["Subject"].split()) == " ".join(message.subject.split())
    assert lines(parsed.get_body(("plain",)).get_content()) == lines(message.text)
    assert lines(parsed.get_body(("html",)).get_content()) == lines(message.html)
    attached = list(parsed.iter_attachments())
    assert [part.get_payload(decode=True) for part in attached] == [
        one.content for one in message.attachments
    ]
    assert [part.get_filename() for part in attached] == [
        one.filename for one in message.attachments
    ]

"""The outbox plugin: a mail is a file, whole or not at all, and the same file each time."""

from datetime import UTC, datetime

from msgspec.structs import replace

from abaxus_core.plugin.email import EmailMessage, mime
from abaxus_plugins.outbox.sender import Outbox

MESSAGE = EmailMessage(
    message_id="<eml_1@seller.example>",
    date=datetime(2026, 5, 10, 12, tzinfo=UTC),
    sender="billing@seller.example",
    sender_name=None,
    recipient="payer@customer.example",
    subject="Invoice",
    text="text",
    html="<p>html",
)


async def test_a_second_delivery_is_the_same_file(tmp_path):
    outbox = Outbox(tmp_path / "deep" / "outbox")

    first = await outbox.send(MESSAGE, "eml_1")
    again = await outbox.send(MESSAGE, "eml_1")

    assert first == again
    assert first.status == "accepted"
    (file,) = (tmp_path / "deep" / "outbox").iterdir()
    assert (file.name, file.read_bytes()) == ("eml_1.eml", mime(MESSAGE))


async def test_no_message_id_leads_out_of_the_folder(tmp_path):
    outbox = Outbox(tmp_path / "outbox")
    await outbox.send(replace(MESSAGE, message_id="<../../etc/passwd@x>"), "eml_1")
    assert [file.name for file in tmp_path.rglob("*.eml")] == ["______etc_passwd.eml"]


async def test_what_cannot_be_written_now_is_deferred(tmp_path):
    (tmp_path / "outbox").write_text("a file in the way")
    outcome = await Outbox(tmp_path / "outbox").send(MESSAGE, "eml_1")
    assert (outcome.status, outcome.code) == ("deferred", "not_written")


async def test_what_is_no_mail_is_rejected(tmp_path):
    broken = replace(MESSAGE, subject="a\r\nBcc: x@y.example")
    outcome = await Outbox(tmp_path).send(broken, "eml_1")
    assert (outcome.status, outcome.scope) == ("rejected", "content")
    assert list(tmp_path.iterdir()) == []

"""The smtp plugin against a real MTA. Debian: `apt-get install exim4-daemon-light`."""

import email
import email.policy

import pytest
from msgspec.structs import replace

from abaxus_core.conformance.email_bench import MESSAGE
from abaxus_core.kernel import plugin_manager
from abaxus_core.plugin.email import Attachment
from tests.support.exim import exim, exim_binary
from tests.support.mail_server import PASSWORD, USERNAME

pytestmark = pytest.mark.skipif(
    exim_binary() is None,
    reason="LEFT OUT: no real mail server, exim4-daemon-light is missing",
)


async def send(server, message=MESSAGE, **settings):
    environ = {
        "SMTP_HOST": "localhost",
        "SMTP_PORT": str(server.port),
        "SMTP_SECURITY": "starttls",
        "SMTP_CA_FILE": str(server.ca_file),
        "SMTP_USERNAME": USERNAME,
        "SMTP_PASSWORD": PASSWORD,
        **settings,
    }
    async with plugin_manager.opened(plugin_manager.load(["smtp"], environ)) as opened:
        return await opened.email_senders["smtp"].send(message, "key")


async def test_exim_takes_what_we_send_and_refuses_what_it_should():
    async with exim() as server:
        accepted = await send(server)
        unknown = await send(server, replace(MESSAGE, recipient="unknown@customer.example"))
        later = await send(server, replace(MESSAGE, recipient="greylisted@customer.example"))
        relayed = await send(server, replace(MESSAGE, recipient="payer@elsewhere.example"))
        large = Attachment(filename="a", media_type="application/pdf", content=bytes(200_000))
        too_large = await send(server, replace(MESSAGE, attachments=(large,)))
        wrong = await send(server, SMTP_PASSWORD="wrong")
        nobody = await send(server, SMTP_USERNAME="", SMTP_PASSWORD="")
        (mail,) = await server.arrived(1)

    assert (accepted.status, accepted.provider_message_id is None) == ("accepted", False)
    assert (unknown.status, unknown.scope) == ("rejected", "recipient")
    assert later.status == "deferred"
    assert (relayed.status, relayed.scope) == ("rejected", "config")
    assert (too_large.status, too_large.code) == ("rejected", "too_large")
    assert (wrong.status, wrong.code, wrong.scope) == ("rejected", "login_refused", "config")
    assert (nobody.status, nobody.scope) == ("rejected", "recipient")
    parsed = email.message_from_bytes(mail.as_bytes(), policy=email.policy.default)
    assert parsed["Message-ID"] == MESSAGE.message_id
    assert parsed["Subject"] == MESSAGE.subject
    assert accepted.provider_message_id in parsed["Received"]
    assert "TLS" in parsed["Received"]
    assert parsed.get_body(("plain",)).get_content() == MESSAGE.text
    (attached,) = parsed.iter_attachments()
    assert attached.get_content() == MESSAGE.attachments[0].content
    assert attached.get_filename() == MESSAGE.attachments[0].filename

"""The smtp plugin against servers on real sockets: good ones, hostile ones, dying ones."""

import base64
import email
import email.policy
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from abaxus_core.errors import ConfigurationError
from abaxus_core.kernel import plugin_manager
from abaxus_core.plugin.email import Attachment, EmailMessage, mime
from abaxus_plugins.smtp import sender as smtp_sender
from tests.support.mail_server import (
    HANG_UP,
    PASSWORD,
    SILENCE,
    USERNAME,
    mail_server,
    make_authority,
    misbehaving,
)
from tests.support.ports import free_port

MESSAGE = EmailMessage(
    message_id="<eml_1@seller.example>",
    date=datetime(2026, 5, 10, 12, tzinfo=UTC),
    sender="billing@seller.example",
    sender_name="Müller, Söhne",
    recipient="payer@customer.example",
    subject="Rechnung für März",
    text="grüße\n.\n..\n",
    html="<p>grüße",
    headers=(("Auto-Submitted", "auto-generated"),),
    attachments=(
        Attachment(
            filename="Rechnung März.pdf", media_type="application/pdf", content=b"%PDF" * 900
        ),
    ),
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return make_authority(tmp_path_factory.mktemp("ca"))


async def send(message=MESSAGE, **settings):
    environ = {"SMTP_HOST": "localhost", **{k: str(v) for k, v in settings.items()}}
    plugins = plugin_manager.load(["smtp"], environ)
    async with plugin_manager.opened(plugins) as opened:
        return await opened.email_senders["smtp"].send(message, "eml_1")


async def send_in_the_clear(port, message=MESSAGE):
    return await send(message, SMTP_SECURITY="none", SMTP_PORT=port)


@pytest.mark.parametrize("login", [True, False])
@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_a_mail_arrives_encrypted_as_it_was_written(authority, security, login):
    who = {"SMTP_USERNAME": USERNAME, "SMTP_PASSWORD": PASSWORD} if login else {}
    async with mail_server(security=security, authority=authority, login=login) as inbox:
        outcome = await send(
            SMTP_SECURITY=security, SMTP_PORT=inbox.port, SMTP_CA_FILE=authority.ca_file, **who
        )

    assert (outcome.status, outcome.provider_message_id) == ("accepted", "4BC2D")
    (mail,) = inbox.mails
    assert (mail.sender, mail.recipients) == (MESSAGE.sender, [MESSAGE.recipient])
    assert (mail.encrypted, mail.authenticated) == (True, login)
    assert mail.content == mime(MESSAGE)
    parsed = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert parsed["Message-ID"] == MESSAGE.message_id
    assert [part.get_filename() for part in parsed.iter_attachments()] == ["Rechnung März.pdf"]


async def test_in_the_clear_only_when_told_so(authority):
    async with mail_server(security="none", authority=authority) as inbox:
        outcome = await send_in_the_clear(inbox.port)
    assert outcome.status == "accepted"
    assert inbox.mails[0].encrypted is False


async def test_a_wrong_password_is_the_operators_and_is_not_repeated(authority):
    async with mail_server(security="tls", authority=authority, login=True) as inbox:
        outcome = await send(
            SMTP_PORT=inbox.port,
            SMTP_CA_FILE=authority.ca_file,
            SMTP_USERNAME=USERNAME,
            SMTP_PASSWORD="wrong-hunter2",
        )
    assert (outcome.status, outcome.code, outcome.scope) == ("rejected", "login_refused", "config")
    assert "hunter2" not in repr(outcome)
    assert inbox.mails == []


async def test_a_login_that_cannot_be_looked_at_now_is_deferred(authority):
    async with mail_server(security="tls", authority=authority, login=True) as inbox:
        inbox.busy = "454 4.7.0 the directory is away"
        outcome = await send(
            SMTP_PORT=inbox.port,
            SMTP_CA_FILE=authority.ca_file,
            SMTP_USERNAME=USERNAME,
            SMTP_PASSWORD=PASSWORD,
        )
    assert (outcome.status, outcome.code) == ("deferred", "login_deferred")


async def test_a_server_that_repeats_what_it_refuses_does_not_give_the_password_away(authority):
    sent = base64.b64encode(f"\0{USERNAME}\0{PASSWORD}".encode()).decode()
    async with mail_server(security="tls", authority=authority, login=True) as inbox:
        inbox.busy = f"535 5.7.8 not understood: AUTH PLAIN {sent} ({PASSWORD})"
        outcome = await send(
            SMTP_PORT=inbox.port,
            SMTP_CA_FILE=authority.ca_file,
            SMTP_USERNAME=USERNAME,
            SMTP_PASSWORD=PASSWORD,
        )
    assert outcome.detail == "535 5.7.8 not understood: AUTH PLAIN *** (***)"


async def test_starttls_that_was_stripped_sends_nothing(authority):
    async with misbehaving(EHLO=b"250-mx\r\n250 AUTH PLAIN LOGIN") as server:
        outcome = await send(
            SMTP_SECURITY="starttls",
            SMTP_PORT=server.port,
            SMTP_USERNAME=USERNAME,
            SMTP_PASSWORD=PASSWORD,
        )
    assert (outcome.status, outcome.code) == ("deferred", "not_encrypted")
    assert server.verbs() == ["EHLO"]


@pytest.mark.parametrize(
    "reply", [b"454 4.7.0 TLS not available", b"502 5.5.1 what", b"220 go on", HANG_UP]
)
async def test_starttls_that_is_refused_or_faked_sends_nothing(reply):
    """With 220 the server goes on in the clear: the handshake fails."""
    async with misbehaving(EHLO=b"250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN", STARTTLS=reply) as it:
        outcome = await send(
            SMTP_SECURITY="starttls",
            SMTP_PORT=it.port,
            SMTP_USERNAME=USERNAME,
            SMTP_PASSWORD=PASSWORD,
        )
    assert outcome.status == "deferred"
    assert it.verbs()[:2] == ["EHLO", "STARTTLS"]
    assert not any(word in b"".join(it.said) for word in (b"AUTH", b"MAIL", b"seller.example>"))


@pytest.mark.parametrize("security", ["tls", "starttls"])
@pytest.mark.parametrize("wrong", ["name", "authority"])
async def test_a_wrong_certificate_is_told_nothing(authority, tmp_path, security, wrong):
    name = "elsewhere.example" if wrong == "name" else "localhost"
    trusted = make_authority(tmp_path) if wrong == "authority" else authority
    async with mail_server(security=security, authority=authority, name=name, login=True) as inbox:
        outcome = await send(
            SMTP_SECURITY=security,
            SMTP_PORT=inbox.port,
            SMTP_CA_FILE=trusted.ca_file,
            SMTP_USERNAME=USERNAME,
            SMTP_PASSWORD=PASSWORD,
        )
    assert (outcome.status, outcome.code) == ("deferred", "not_encrypted")
    assert (inbox.mails, inbox.logins) == ([], 0)


async def test_tls_to_a_server_that_speaks_plainly_sends_nothing(authority):
    async with mail_server(security="none", authority=authority) as inbox:
        outcome = await send(SMTP_SECURITY="tls", SMTP_PORT=inbox.port)
    assert outcome.status == "deferred"
    assert inbox.mails == []


@pytest.mark.parametrize(
    ("verb", "reply", "expected"),
    [
        ("CONNECT", b"554 5.3.2 no service", ("deferred", "unreachable", None)),
        ("CONNECT", b"421 4.3.2 busy", ("deferred", "unreachable", None)),
        ("CONNECT", b"\xff\xfe nonsense", ("deferred", "unreachable", None)),
        ("EHLO", b"450 4.7.1 later", ("deferred", "hello_deferred", None)),
        ("EHLO", b"550 5.7.1 bad name", ("rejected", "hello_refused", "config")),
        ("MAIL", b"421 4.3.2 closing", ("deferred", "sender_deferred", None)),
        ("MAIL", b"451 4.3.0 later", ("deferred", "sender_deferred", None)),
        ("MAIL", b"530 5.7.0 log in first", ("rejected", "sender_refused", "config")),
        ("MAIL", b"553 5.7.1 not yours", ("rejected", "sender_refused", "config")),
        ("MAIL", b"552 5.3.4 too large", ("rejected", "sender_refused", "content")),
        ("RCPT", b"450 4.7.1 greylisted", ("deferred", "recipient_deferred", None)),
        ("RCPT", b"550 5.1.1 no mailbox", ("rejected", "recipient_refused", "recipient")),
        ("RCPT", b"552 5.2.2 full", ("rejected", "recipient_refused", "recipient")),
        ("RCPT", b"550 5.7.1 no relaying", ("rejected", "recipient_refused", "config")),
        ("RCPT", b"550 5.1.8 bad sender", ("rejected", "recipient_refused", "config")),
        ("DATA", b"451 4.3.0 later", ("deferred", "message_deferred", None)),
        ("DATA", b"554 5.6.0 no valid recipients", ("rejected", "message_refused", "content")),
        ("dot", b"452 4.3.1 disk full", ("deferred", "message_deferred", None)),
        ("dot", b"554 5.7.1 spam", ("rejected", "message_refused", "content")),
        ("dot", b"550 5.7.60 not your sender", ("rejected", "message_refused", "config")),
        ("dot", b"999 what", ("unknown", "no_answer", None)),
        ("dot", b"\xff\xfe nonsense", ("unknown", "no_answer", None)),
        ("dot", HANG_UP, ("unknown", "no_answer", None)),
        ("CONNECT", HANG_UP, ("deferred", "unreachable", None)),
        ("EHLO", HANG_UP, ("deferred", "unreachable", None)),
        ("MAIL", HANG_UP, ("deferred", "unreachable", None)),
        ("RCPT", HANG_UP, ("deferred", "unreachable", None)),
        ("DATA", HANG_UP, ("unknown", "no_answer", None)),
    ],
)
async def test_what_each_reply_proves(verb, reply, expected):
    async with misbehaving(**{verb: reply}) as server:
        outcome = await send_in_the_clear(server.port)
    assert (outcome.status, outcome.code, outcome.scope) == expected
    assert len(server.messages) == (verb == "dot")


async def test_a_reply_that_says_why_is_kept_without_the_address():
    reply = b"550-5.1.1 <payer@customer.example>:\r\n550 5.1.1 unknown"
    async with misbehaving(RCPT=reply) as server:
        outcome = await send_in_the_clear(server.port)
    assert outcome.detail == "550 5.1.1 <address>: 5.1.1 unknown"


@pytest.mark.parametrize(
    ("verb", "status"), [("CONNECT", "deferred"), ("MAIL", "deferred"), ("dot", "unknown")]
)
async def test_a_server_that_falls_silent(monkeypatch, verb, status):
    for name in ("CONNECT_TIMEOUT_S", "COMMAND_TIMEOUT_S", "DATA_TIMEOUT_S"):
        monkeypatch.setattr(smtp_sender, name, 0.2)
    async with misbehaving(**{verb: SILENCE}) as server:
        outcome = await send_in_the_clear(server.port)
    assert outcome.status == status


async def test_what_was_accepted_stays_so_though_the_server_hangs_up():
    async with misbehaving(QUIT=HANG_UP) as server:
        outcome = await send_in_the_clear(server.port)
    assert (outcome.status, outcome.provider_message_id) == ("accepted", "1abc-2")


async def test_nobody_listening():
    outcome = await send_in_the_clear(free_port())
    assert (outcome.status, outcome.code) == ("deferred", "unreachable")


async def test_what_is_larger_than_the_server_takes_is_not_sent():
    async with misbehaving(EHLO=b"250-mx\r\n250 SIZE 1000") as server:
        outcome = await send_in_the_clear(server.port)
    assert (outcome.status, outcome.code, outcome.scope) == ("rejected", "too_large", "content")
    assert server.verbs() == ["EHLO"]


async def test_who_we_are_is_the_senders_domain():
    async with misbehaving() as server:
        await send_in_the_clear(server.port)
    assert server.said[0] == b"EHLO seller.example\r\n"
    assert server.said[1].startswith(b"MAIL FROM:<billing@seller.example> SIZE=")


async def test_a_server_that_takes_no_logins_is_the_operators(authority):
    async with mail_server(security="tls", authority=authority) as inbox:
        outcome = await send(
            SMTP_PORT=inbox.port,
            SMTP_CA_FILE=authority.ca_file,
            SMTP_USERNAME=USERNAME,
            SMTP_PASSWORD=PASSWORD,
        )
    assert (outcome.status, outcome.scope) == ("rejected", "config")
    assert inbox.mails == []


async def test_what_is_no_mail_reaches_no_server():
    async with misbehaving() as server:
        outcome = await send_in_the_clear(
            server.port, replace(MESSAGE, subject="a\r\nBcc: x@y.example")
        )
    assert (outcome.status, outcome.code) == ("rejected", "malformed")
    assert server.said == []


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, ["SMTP_HOST is not set"]),
        (
            {"SMTP_HOST": "smtp://x", "SMTP_PORT": "0", "SMTP_SECURITY": "ssl"},
            ["SMTP_HOST: must be a host name", "SMTP_SECURITY: must be one of", "SMTP_PORT:"],
        ),
        (
            {
                "SMTP_HOST": "mail",
                "SMTP_SECURITY": "none",
                "SMTP_PASSWORD": "hunter2",
                "SMTP_CA_FILE": "/nowhere",
            },
            ["SMTP_USERNAME and SMTP_PASSWORD go together", "in the clear", "SMTP_CA_FILE"],
        ),
    ],
)
def test_what_does_not_fit_stops_the_start_all_at_once(environ, says):
    with pytest.raises(ConfigurationError) as refused:
        plugin_manager.load(["smtp"], environ)
    faults = refused.value.faults
    assert len(faults) == len(says)
    for fault, words in zip(faults, says, strict=True):
        assert words in fault
        assert "hunter2" not in fault


def test_the_host_is_what_may_be_contacted():
    for host in ("Mail.Example.com", "mail", "10.0.0.25"):
        plugins = plugin_manager.load(["smtp"], {"SMTP_HOST": host})
        assert plugins.email_senders["smtp"].hosts == {host.lower()}

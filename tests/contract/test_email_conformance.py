"""Our email senders pass the checks that strangers' do; the services are fakes on real sockets."""

import json
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from abaxus_core.conformance.email import EmailSenderContract, HttpEmailSenderContract
from abaxus_core.conformance.email_bench import SITUATIONS, Delivered
from abaxus_core.conformance.http_peer import Answer
from abaxus_plugins import mailgun, outbox, postmark, resend, sendgrid, ses, smtp
from tests.support import email_apis
from tests.support.mail_server import HANG_UP, SILENCE, misbehaving

SECRET = email_apis.SECRET
ECHO = f"payer@customer.example is refused; your key {SECRET} is not"


def answer(status, body=None, **headers):
    content = b"" if body is None else json.dumps(body).encode()
    return Answer(
        status=status, headers={"Content-Type": "application/json", **headers}, body=content
    )


class TestSendGrid(HttpEmailSenderContract):
    descriptor = sendgrid.register_email_senders()[0]
    environ = MappingProxyType({"SENDGRID_API_KEY": SECRET})
    secrets = frozenset({"SENDGRID_API_KEY"})
    untracked = MappingProxyType(
        {
            "tracking_settings.click_tracking.enable": "false",
            "tracking_settings.open_tracking.enable": "false",
        }
    )
    answers = MappingProxyType(
        {
            "accept": Answer(status=202, headers={"X-Message-Id": "m-1"}),
            "refuse_recipient": answer(
                400,
                {"errors": [{"message": ECHO, "field": "personalizations.0.to.0.email"}]},
            ),
            "refuse_content": answer(413, {"errors": [{"message": ECHO, "field": None}]}),
            "refuse_config": answer(401, {"errors": [{"message": ECHO, "field": None}]}),
            "defer": answer(429, {"errors": [{"message": "too many requests", "field": None}]}),
        }
    )

    def check_request(self, received):
        email_apis.check("sendgrid", received)


class TestPostmark(HttpEmailSenderContract):
    descriptor = postmark.register_email_senders()[0]
    environ = MappingProxyType({"POSTMARK_SERVER_TOKEN": SECRET})
    secrets = frozenset({"POSTMARK_SERVER_TOKEN"})
    untracked = MappingProxyType({"TrackOpens": "false", "TrackLinks": "None"})
    answers = MappingProxyType(
        {
            "accept": answer(
                200,
                {
                    "ErrorCode": 0,
                    "Message": "OK",
                    "MessageID": "m-1",
                    "To": "payer@customer.example",
                    "SubmittedAt": "2026-05-10T12:00:00Z",
                },
            ),
            "refuse_recipient": answer(422, {"ErrorCode": 406, "Message": ECHO}),
            "refuse_content": answer(422, {"ErrorCode": 300, "Message": ECHO}),
            "refuse_config": answer(401, {"ErrorCode": 10, "Message": ECHO}),
            "defer": answer(429, {"ErrorCode": 429, "Message": "rate limit exceeded"}),
        }
    )

    def check_request(self, received):
        email_apis.check("postmark", received)


class TestMailgun(HttpEmailSenderContract):
    descriptor = mailgun.register_email_senders()[0]
    environ = MappingProxyType({"MAILGUN_API_KEY": SECRET, "MAILGUN_DOMAIN": "mg.seller.example"})
    secrets = frozenset({"MAILGUN_API_KEY"})
    untracked = MappingProxyType({"o:tracking": "no"})
    answers = MappingProxyType(
        {
            "accept": answer(
                200, {"id": "<eml_1@seller.example>", "message": "Queued. Thank you."}
            ),
            "refuse_recipient": answer(
                400, {"message": f"'to' parameter is not a valid address: {ECHO}"}
            ),
            "refuse_content": answer(413, {"message": ECHO}),
            "refuse_config": Answer(status=401, body=b"Forbidden"),
            "defer": answer(429, {"message": "too many"}),
        }
    )

    def check_request(self, received):
        email_apis.check("mailgun", received)


class TestSes(HttpEmailSenderContract):
    descriptor = ses.register_email_senders()[0]
    environ = MappingProxyType(
        {
            "SES_REGION": "eu-central-1",
            "SES_ACCESS_KEY_ID": "AKIDEXAMPLE12345",
            "SES_SECRET_ACCESS_KEY": SECRET,
            "SES_SESSION_TOKEN": "session-hunter3",
        }
    )
    secrets = frozenset({"SES_SECRET_ACCESS_KEY", "SES_SESSION_TOKEN"})
    answers = MappingProxyType(
        {
            "accept": answer(200, {"MessageId": "0100-m1"}),
            "refuse_content": answer(
                400, {"message": ECHO}, **{"x-amzn-ErrorType": "MessageRejected:http://internal/"}
            ),
            "refuse_config": answer(
                403, {"message": ECHO}, **{"x-amzn-ErrorType": "InvalidSignatureException"}
            ),
            "defer": answer(
                429, {"message": "slow"}, **{"x-amzn-ErrorType": "TooManyRequestsException"}
            ),
        }
    )
    cannot = frozenset({"refuse_recipient"})

    def check_request(self, received):
        email_apis.check("ses", received)


class TestResend(HttpEmailSenderContract):
    descriptor = resend.register_email_senders()[0]
    environ = MappingProxyType({"RESEND_API_KEY": SECRET})
    secrets = frozenset({"RESEND_API_KEY"})
    answers = MappingProxyType(
        {
            "accept": answer(200, {"id": "m-1"}),
            "refuse_recipient": answer(
                422,
                {"statusCode": 422, "name": "validation_error", "message": f"Invalid `to`: {ECHO}"},
            ),
            "refuse_content": answer(
                422, {"statusCode": 422, "name": "invalid_attachment", "message": ECHO}
            ),
            "refuse_config": answer(
                403, {"statusCode": 403, "name": "invalid_api_key", "message": ECHO}
            ),
            "defer": answer(
                429, {"statusCode": 429, "name": "rate_limit_exceeded", "message": "slow"}
            ),
        }
    )

    def check_request(self, received):
        email_apis.check("resend", received)


class SmtpService:
    """A server that misbehaves on the wire, in the clear."""

    network = None
    replies = MappingProxyType(
        {
            "accept": {},
            "refuse_recipient": {"RCPT": b"550 5.1.1 <payer@customer.example> unknown"},
            "refuse_content": {".": b"554 5.7.1 <payer@customer.example> does not want this"},
            "refuse_config": {"MAIL": b"553 5.7.1 billing@seller.example is not yours"},
            "defer": {"RCPT": b"450 4.7.1 <payer@customer.example> greylisted"},
            "closes_unread": {"CONNECT": HANG_UP},
            "closes_after_reading": {".": HANG_UP},
            "silent": {".": SILENCE},
            "not_http": {".": b"\x16\x03\x01"},
            "nonsense": {".": b"200 <h1>Log in to our Wi-Fi</h1>"},
        }
    )

    def __init__(self, server):
        self.environ = {
            "SMTP_HOST": "localhost",
            "SMTP_PORT": str(server.port),
            "SMTP_SECURITY": "none",
        }
        self._server = server
        self._usual = dict(server.replies)

    def will(self, situation):
        self._server.replies = {**self._usual, **self.replies[situation]}

    @property
    def delivered(self):
        return [
            Delivered(media_type="message/rfc822", body=content)
            for content in self._server.messages
        ]


class TestSmtp(EmailSenderContract):
    descriptor = smtp.register_email_senders()[0]
    cannot = frozenset({"absent", "half", "redirect"})

    @asynccontextmanager
    async def service(self):
        async with misbehaving() as server:
            yield SmtpService(server)


class OutboxService:
    """A folder; each file in it is a mail that was delivered."""

    network = None

    def __init__(self, folder):
        self.environ = {"OUTBOX_DIR": str(folder)}
        self._folder = folder

    def will(self, situation):
        if situation == "defer":
            for file in self._folder.glob("*.eml"):
                file.unlink()
            self._folder.rmdir()
            self._folder.write_text("a file in the way")

    @property
    def delivered(self):
        return [
            Delivered(media_type="message/rfc822", body=file.read_bytes())
            for file in sorted(self._folder.glob("*.eml"))
        ]


class TestOutbox(EmailSenderContract):
    descriptor = outbox.register_email_senders()[0]
    cannot = frozenset(SITUATIONS) - {"accept", "defer"}

    @asynccontextmanager
    async def service(self):
        with TemporaryDirectory() as folder:
            (Path(folder) / "outbox").mkdir()
            yield OutboxService(Path(folder) / "outbox")

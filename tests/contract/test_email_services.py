"""What the answers of SendGrid, Postmark, Mailgun and Resend mean; anything not listed: unknown."""

from datetime import UTC, datetime
from email.utils import format_datetime

import httpx
import pytest

from abaxus_core.errors import ConfigurationError
from abaxus_core.kernel import plugin_manager
from abaxus_core.plugin.http import retry_after_s
from abaxus_core.plugin.settings import Token
from abaxus_plugins.mailgun import wire as mailgun
from abaxus_plugins.postmark import wire as postmark
from abaxus_plugins.resend import wire as resend
from abaxus_plugins.sendgrid import wire as sendgrid

KEY = Token("key-hunter2")
NOW = datetime(2026, 5, 10, 12, tzinfo=UTC)


def read(wire, status, body=None, **headers):
    content = {"content": b""} if body is None else {"json": body}
    outcome = wire.outcome(httpx.Response(status, headers=headers, **content), KEY)
    return outcome.status, outcome.scope


def fault(message="x", field=None):
    return {"errors": [{"message": message, "field": field, "help": None}]}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (202, None, ("accepted", None)),
        (200, None, ("unknown", None)),  # a dry run
        (204, None, ("unknown", None)),
        (400, fault(field="subject"), ("rejected", "content")),
        (400, fault(field="personalizations.0.to.0.email"), ("rejected", "recipient")),
        (400, fault(field="from.email"), ("rejected", "config")),
        (400, None, ("rejected", "content")),
        (401, fault(), ("rejected", "config")),
        (403, fault(), ("rejected", "config")),
        (404, None, ("rejected", "config")),
        (405, None, ("rejected", "config")),
        (413, fault(), ("rejected", "content")),
        (418, None, ("unknown", None)),
        (429, fault(), ("deferred", None)),
        (500, None, ("deferred", None)),
        (502, None, ("deferred", None)),
        (503, None, ("deferred", None)),
    ],
)
def test_sendgrid(status, body, expected):
    assert read(sendgrid, status, body) == expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"ErrorCode": 0, "Message": "OK", "MessageID": "m"}, ("accepted", None)),
        (200, {"ErrorCode": 0, "Message": "OK"}, ("unknown", None)),
        (200, {"ErrorCode": 300, "Message": "x", "MessageID": "m"}, ("unknown", None)),
        (401, {"ErrorCode": 10, "Message": "x"}, ("rejected", "config")),
        (401, None, ("rejected", "config")),
        (413, None, ("rejected", "content")),
        (422, {"ErrorCode": 300, "Message": "x"}, ("rejected", "content")),
        (422, {"ErrorCode": 400, "Message": "x"}, ("rejected", "config")),
        (422, {"ErrorCode": 401, "Message": "x"}, ("rejected", "config")),
        (422, {"ErrorCode": 405, "Message": "x"}, ("rejected", "config")),
        (422, {"ErrorCode": 406, "Message": "x"}, ("rejected", "recipient")),
        (422, {"ErrorCode": 411, "Message": "x"}, ("rejected", "content")),
        (422, {"ErrorCode": 412, "Message": "x"}, ("rejected", "config")),
        (422, {"ErrorCode": 413, "Message": "x"}, ("rejected", "config")),
        (422, {"ErrorCode": 100, "Message": "x"}, ("deferred", None)),
        (422, {"ErrorCode": 9999, "Message": "x"}, ("unknown", None)),
        (422, None, ("unknown", None)),
        (429, None, ("deferred", None)),
        (500, {"ErrorCode": 1, "Message": "x"}, ("deferred", None)),
        (502, None, ("unknown", None)),
        (503, None, ("deferred", None)),
    ],
)
def test_postmark(status, body, expected):
    assert read(postmark, status, body) == expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"id": "<m>", "message": "Queued. Thank you."}, ("accepted", None)),
        (200, {"id": "<m>", "message": "Something else"}, ("unknown", None)),
        (200, {"message": "Queued. Thank you."}, ("unknown", None)),
        (400, {"message": "to parameter is not a valid address"}, ("rejected", "recipient")),
        (400, {"message": "from parameter is missing"}, ("rejected", "content")),
        (401, None, ("rejected", "config")),
        (403, {"message": "x"}, ("rejected", "config")),
        (404, {"message": "Domain not found"}, ("deferred", None)),
        (413, None, ("rejected", "content")),
        (429, {"message": "x"}, ("deferred", None)),
        (500, None, ("deferred", None)),
        (502, None, ("unknown", None)),
    ],
)
def test_mailgun(status, body, expected):
    assert read(mailgun, status, body) == expected


def refusal(name, message="x"):
    return {"statusCode": 400, "name": name, "message": message}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"id": "m"}, ("accepted", None)),
        (201, {"id": "m"}, ("unknown", None)),
        (400, refusal("validation_error"), ("rejected", "content")),
        (401, refusal("missing_api_key"), ("rejected", "config")),
        (403, refusal("validation_error", "The domain is not verified."), ("rejected", "config")),
        (404, refusal("not_found"), ("rejected", "config")),
        (405, refusal("method_not_allowed"), ("rejected", "config")),
        (409, refusal("invalid_idempotent_request"), ("rejected", "content")),
        (409, refusal("concurrent_idempotent_requests"), ("deferred", None)),
        (409, refusal("another"), ("unknown", None)),
        (409, None, ("unknown", None)),
        (422, refusal("invalid_from_address"), ("rejected", "config")),
        (422, refusal("validation_error", "Invalid `to` field."), ("rejected", "recipient")),
        (422, refusal("validation_error", "Invalid `from` field."), ("rejected", "config")),
        (422, refusal("missing_required_field"), ("rejected", "content")),
        (429, refusal("rate_limit_exceeded"), ("deferred", None)),
        (429, refusal("daily_quota_exceeded"), ("deferred", None)),
        (500, refusal("application_error"), ("deferred", None)),
        (502, None, ("unknown", None)),
    ],
)
def test_resend(status, body, expected):
    assert read(resend, status, body) == expected


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": " 0 "}, 0),
        ({"Retry-After": "Sun, 10 May 2026 12:02:00 GMT", "Date": format_datetime(NOW)}, 120),
        ({"Retry-After": "Sun, 10 May 2026 11:02:00 GMT", "Date": format_datetime(NOW)}, 0),
        ({"Retry-After": "Sun, 10 May 2026 12:02:00 GMT"}, None),
        ({"Retry-After": "soon", "Date": format_datetime(NOW)}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "9" * 40}, None),
        ({"Retry-After": "1.5"}, None),
        ({}, None),
    ],
)
def test_when_a_service_says_to_come_back(headers, seconds):
    assert retry_after_s(httpx.Response(429, headers=headers)) == seconds


def test_sendgrids_own_word_for_it():
    then = int(NOW.timestamp()) + 40
    headers = {"X-RateLimit-Reset": str(then), "Date": format_datetime(NOW)}
    outcome = sendgrid.outcome(httpx.Response(429, headers=headers), KEY)
    assert outcome.retry_after_s == 40


@pytest.mark.parametrize(
    ("plugin", "environ", "says"),
    [
        ("sendgrid", {}, ["SENDGRID_API_KEY is not set"]),
        (
            "sendgrid",
            {"SENDGRID_API_KEY": "two words", "SENDGRID_REGION": "mars"},
            ["SENDGRID_API_KEY: must be printable", "SENDGRID_REGION: must be one of"],
        ),
        ("postmark", {"POSTMARK_MESSAGE_STREAM": "No Such"}, ["SERVER_TOKEN", "MESSAGE_STREAM"]),
        ("mailgun", {"MAILGUN_DOMAIN": "http://x"}, ["MAILGUN_API_KEY", "MAILGUN_DOMAIN: must be"]),
        (
            "ses",
            {"SES_REGION": "Frankfurt", "SES_ACCESS_KEY_ID": "x"},
            ["SES_REGION", "SES_ACCESS_KEY_ID", "SES_SECRET_ACCESS_KEY is not set"],
        ),
        ("resend", {}, ["RESEND_API_KEY is not set"]),
    ],
)
def test_settings_that_do_not_fit_stop_the_start_by_name(plugin, environ, says):
    with pytest.raises(ConfigurationError) as refused:
        plugin_manager.load([plugin], environ)
    assert len(refused.value.faults) == len(says)
    for fault_, words in zip(refused.value.faults, says, strict=True):
        assert words in fault_
        assert "two words" not in fault_


def test_the_hosts_follow_the_region():
    environ = {
        "SENDGRID_API_KEY": "k",
        "SENDGRID_REGION": "eu",
        "MAILGUN_API_KEY": "k",
        "MAILGUN_DOMAIN": "MG.seller.example",
        "MAILGUN_REGION": "eu",
        "SES_REGION": "us-gov-west-1",
        "SES_ACCESS_KEY_ID": "A" * 20,
        "SES_SECRET_ACCESS_KEY": "k",
    }
    senders = plugin_manager.load(["sendgrid", "mailgun", "ses"], environ).email_senders
    assert {name: set(one.hosts) for name, one in senders.items()} == {
        "sendgrid": {"api.eu.sendgrid.com"},
        "mailgun": {"api.eu.mailgun.net"},
        "ses": {"email.us-gov-west-1.amazonaws.com"},
    }
    assert "'k'" not in repr(senders)

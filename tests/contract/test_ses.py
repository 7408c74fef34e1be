"""The ses plugin's signature against AWS's vectors and botocore, and what SES's errors mean."""

from datetime import UTC, datetime

import httpx
import pytest

from abaxus_core.plugin.settings import Secret, Token
from abaxus_plugins.ses import signature, wire

# Of the test suite of Signature Version 4, and of the signing key in "Examples of how to derive a
# signing key" (AWS General Reference).
KEY_ID = "AKIDEXAMPLE"
KEY = Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SUITE = signature.Scope(
    at=datetime(2015, 8, 30, 12, 36, tzinfo=UTC), region="us-east-1", service="service"
)
SUITE_HEADERS = {"Host": "example.amazonaws.com", "X-Amz-Date": "20150830T123600Z"}


def sign(request, scope):
    text = signature.authorization(request, scope, access_key_id=KEY_ID, secret_access_key=KEY)
    return text.rpartition("Signature=")[2]


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("GET", {}, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", {}, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "POST",
            {"My-Header1": "VALUE1"},
            "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        ),
    ],
    ids=["get-vanilla", "post-vanilla", "post-header-value-case"],
)
def test_the_suite_of_aws(method, headers, expected):
    request = signature.Signable(
        method=method, path="/", headers={**SUITE_HEADERS, **headers}, body=b""
    )
    assert sign(request, SUITE) == expected


def test_the_signing_key_of_the_general_reference():
    scope = signature.Scope(at=datetime(2015, 8, 30, tzinfo=UTC), region="us-east-1", service="iam")
    assert (
        signature.signing_key(KEY, scope).hex()
        == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
    )


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ({}, "48f7b5f4e658b4d5eff9d97139ebae4a5a6d503241a6ef4198835daaaa7e4146"),
        (
            {"X-Amz-Security-Token": "session/token+=="},
            "36be31f3bca226cd1fa654f42c1933c1c829c4ddeb963145c9031b164a1060e3",
        ),
    ],
)
def test_our_request_as_botocore_signs_it(token, expected):
    """Made with botocore 1.44.8, SigV4Auth for service ses."""
    at = datetime(2026, 5, 10, 12, 0, 7, tzinfo=UTC)
    scope = signature.Scope(at=at, region="eu-central-1", service="ses")
    request = signature.Signable(
        method="POST",
        path=wire.PATH,
        headers={
            "Content-Type": "application/json",
            "Host": "email.eu-central-1.amazonaws.com",
            "X-Amz-Date": scope.timestamp,
            **token,
        },
        body=b'{"Content":{"Raw":{"Data":"SGVsbG8="}}}',
    )
    assert sign(request, scope) == expected
    assert str(scope) == "20260510/eu-central-1/ses/aws4_request"


@pytest.mark.parametrize(
    ("status", "name", "message", "expected"),
    [
        (400, "MessageRejected", "virus", ("rejected", "content")),
        (400, "MessageRejected", "Email address is not verified", ("rejected", "config")),
        (400, "BadRequestException", "x", ("rejected", "content")),
        (400, "MailFromDomainNotVerifiedException", "x", ("rejected", "config")),
        (400, "AccountSuspendedException", "x", ("rejected", "config")),
        (400, "SendingPausedException", "x", ("rejected", "config")),
        (400, "LimitExceededException", "x", ("rejected", "config")),
        (400, "ThrottlingException", "Maximum sending rate exceeded.", ("deferred", None)),
        (400, "HeardOfNever", "x", ("unknown", None)),
        (400, "", "x", ("unknown", None)),
        (403, "InvalidSignatureException", "x", ("rejected", "config")),
        (404, "NotFoundException", "x", ("rejected", "config")),
        (429, "TooManyRequestsException", "x", ("deferred", None)),
        (500, "InternalFailure", "x", ("deferred", None)),
        (503, "", "x", ("deferred", None)),
        (302, "", "x", ("unknown", None)),
        (418, "", "x", ("unknown", None)),
    ],
)
@pytest.mark.parametrize("where", ["header", "type"])
def test_what_each_error_means(status, name, message, expected, where):
    headers = {"x-amzn-errortype": f"{name}:http://internal/"} if where == "header" else {}
    body = {"message": message} if where == "header" else {"Message": message}
    if where == "type" and name:
        body["__type"] = f"com.amazonaws.sesv2#{name}"
    outcome = wire.outcome(httpx.Response(status, headers=headers, json=body), Token("hunter2"))
    assert (outcome.status, outcome.scope) == expected
    assert outcome.code == (name or f"http_{status}")

"""The email services as far as we use them: what they take, and what they answer.

Each request is held against a small schema of our own that lists every field we send and allows no
other; where the service answers with an error, the error repeats the recipient and the key, as real
ones do.
"""

import base64
import email
import email.policy
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import jsonschema

from abaxus_core.conformance.http_peer import Received

HERE = Path(__file__).parent
SCHEMAS = {
    path.stem: jsonschema.Draft202012Validator(json.loads(path.read_text()))
    for path in sorted(HERE.glob("*.json"))
}
TARGETS = {
    "sendgrid": "/v3/mail/send",
    "postmark": "/email",
    "mailgun": "/v3/mg.seller.example/messages.mime",
    "ses": "/v2/email/outbound-emails",
    "resend": "/emails",
}
SECRET = "key-hunter2"
AUTHENTICATED: Mapping[str, Callable[[Mapping[str, str]], bool]] = {
    "sendgrid": lambda headers: headers["authorization"] == f"Bearer {SECRET}",
    "postmark": lambda headers: headers["x-postmark-server-token"] == SECRET,
    "mailgun": lambda headers: (
        headers["authorization"] == "Basic " + base64.b64encode(f"api:{SECRET}".encode()).decode()
    ),
    "ses": lambda headers: headers["authorization"].startswith(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE12345/"
    ),
    "resend": lambda headers: (
        headers["authorization"] == f"Bearer {SECRET}"
        and 1 <= len(headers["idempotency-key"]) <= 256
    ),
}


def check(service: str, received: Received) -> None:
    """Raise AssertionError for a request that the service would not take, or that says too much."""
    assert (received.method, received.target) == ("POST", TARGETS[service])
    assert AUTHENTICATED[service](received.headers), "the credentials are wrong"
    SCHEMAS[service].validate(_body(received))


def _body(received: Received) -> object:
    kind = received.headers["content-type"]
    if kind == "application/json":
        return json.loads(received.body)
    assert kind.startswith("multipart/form-data"), kind
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    form = email.message_from_bytes(head + received.body, policy=email.policy.HTTP)
    return {
        str(part.get_param("name", header="content-disposition")): part.get_content_type()
        if part.get_filename()
        else part.get_content().strip()
        for part in form.iter_parts()
    }

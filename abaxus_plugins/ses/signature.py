"""AWS Signature Version 4 of a request without a query.

Source: AWS, "Create a signed AWS API request" (IAM User Guide). tests/contract/test_ses.py holds it
against AWS's own vectors and signatures made by botocore.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from abaxus_core.plugin.settings import Secret

ALGORITHM: Final = "AWS4-HMAC-SHA256"


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What a signature is good for; `at` is aware and in UTC."""

    at: datetime
    region: str
    service: str

    @property
    def timestamp(self) -> str:
        return f"{self.at:%Y%m%dT%H%M%SZ}"

    def __str__(self) -> str:
        return f"{self.at:%Y%m%d}/{self.region}/{self.service}/aws4_request"


class Signable(msgspec.Struct, frozen=True, kw_only=True):
    """A request: `path` as it is sent, percent-encoded; all `headers` are signed."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def signed_headers(self) -> str:
        return ";".join(sorted(name.lower() for name in self.headers))

    @property
    def canonical(self) -> str:
        headers = sorted((name.lower(), value) for name, value in self.headers.items())
        return "\n".join(
            [
                self.method,
                self.path,
                "",
                "".join(f"{name}:{' '.join(value.split())}\n" for name, value in headers),
                self.signed_headers,
                hashlib.sha256(self.body).hexdigest(),
            ]
        )


def authorization(
    request: Signable, scope: Scope, *, access_key_id: str, secret_access_key: Secret
) -> str:
    """The value of the Authorization header."""
    digest = hashlib.sha256(request.canonical.encode()).hexdigest()
    to_sign = f"{ALGORITHM}\n{scope.timestamp}\n{scope}\n{digest}"
    signature = _hmac(signing_key(secret_access_key, scope), to_sign).hex()
    return (
        f"{ALGORITHM} Credential={access_key_id}/{scope},"
        f" SignedHeaders={request.signed_headers}, Signature={signature}"
    )


def signing_key(secret_access_key: Secret, scope: Scope) -> bytes:
    key = f"AWS4{secret_access_key.reveal()}".encode()
    for part in str(scope).split("/"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), hashlib.sha256)

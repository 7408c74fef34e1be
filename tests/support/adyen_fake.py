"""Adyen's Checkout, stateful; provider_fake.py says how it misbehaves.

The stored method decides: `REFUSED_12` is refused for reason 12, `ERROR`, `PENDING`, `REDIRECT` and
`PARTIAL` give those results, and anything else is authorised.
"""

import itertools
import json
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from tests.support.provider_fake import Answer, Charge, Heard, ProviderFake, changed

RESULTS = {
    "ERROR": "Error",
    "PENDING": "Received",
    "REDIRECT": "RedirectShopper",
    "PARTIAL": "PartiallyAuthorised",
}
VERSION = "/v72"


def error(status: int, code: str, kind: str, *, transient: bool = False) -> Answer:
    body = {"status": status, "errorCode": code, "message": "for people only", "errorType": kind}
    return Answer(
        status=status, body=body, headers={"transient-error": "true"} if transient else {}
    )


class AdyenFake(ProviderFake):
    provider = "adyen"
    key_life = timedelta(days=7)
    headers = frozenset({"x-api-key", "content-type", "idempotency-key"})
    early = MappingProxyType(
        {
            "rate_limited": error(429, "701", "internal", transient=True),
            "bad_credentials": error(401, "000", "security"),
            "key_in_use": error(422, "704", "validation", transient=True),
            "unavailable": error(503, "703", "internal", transient=True),
        }
    )
    broken = error(500, "905", "internal")
    mismatch = error(422, "705", "validation")

    def __init__(self, *args: Any, api_key: str = "AQEfake-key") -> None:
        super().__init__(*args)
        self.api_key = api_key
        self.cancelled: list[str] = []
        self._numbers = itertools.count(1)

    def route(self, path: str) -> str:
        return path.removeprefix("/checkout").removeprefix(VERSION)

    def said(self, heard: Heard, known: str) -> dict[str, Any]:
        said = json.loads(heard.body)
        return dict(said)

    def kept_again(self, answer: Answer, key: str) -> Answer:
        return Answer(
            status=answer.status,
            body=answer.body,
            headers={**answer.headers, "Idempotency-Key": key},
        )

    def keeps(self, answer: Answer) -> bool:
        return answer.status not in (401, 403)

    def other_amount(self, answer: Answer) -> Answer:
        amount = answer.body["amount"]
        return changed(answer, amount={**amount, "value": amount["value"] + 1})

    def act(self, heard: Heard, said: Mapping[str, Any], known: str) -> Answer:
        if heard.headers.get("x-api-key") != self.api_key:
            return self.early["bad_credentials"]
        keyed = {"Idempotency-Key": heard.key} if heard.key else {}
        match known:
            case "POST /payments":
                return self._pay(said, heard.key or "", keyed)
            case "POST /paymentMethods":
                return Answer(status=200, body={"paymentMethods": []})
        if known.endswith("cancels"):
            self.cancelled.append(said["reference"])
        received = {"status": "received", "pspReference": self._psp(), **said}
        return Answer(status=201, body=received, headers=keyed)

    def _pay(self, said: Mapping[str, Any], key: str, keyed: dict[str, str]) -> Answer:
        method = said["paymentMethod"]["storedPaymentMethodId"]
        body = {
            "pspReference": self._psp(),
            "merchantReference": said["reference"],
            "resultCode": RESULTS.get(method, "Authorised"),
        }
        if method.startswith("REFUSED_"):
            code = method.removeprefix("REFUSED_")
            body |= {"resultCode": "Refused", "refusalReason": "for us", "refusalReasonCode": code}
        if body["resultCode"] == "Authorised":
            self._take(said, body["pspReference"], key)
            body["amount"] = said["amount"]
        return Answer(status=200, body=body, headers=keyed)

    def _take(self, said: Mapping[str, Any], psp_reference: str, key: str) -> None:
        self.charges.append(
            Charge(
                reference=said["reference"],
                amount=said["amount"]["value"],
                currency=said["amount"]["currency"],
                payment_id=psp_reference,
                key=key,
            )
        )

    def _psp(self) -> str:
        return f"PSP{next(self._numbers):013}"

"""Stripe's PaymentIntents, stateful; provider_fake.py says how it misbehaves.

The payment method decides: METHODS for declines, `pm_processing` for a payment that succeeds when
it is looked up, `pm_card_authenticationRequired`; anything else is charged. `cus_missing` is none.
"""

import itertools
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from tests.support.provider_fake import Answer, Charge, Heard, ProviderFake, changed, pairs
from tests.support.provider_validation import schemas, unflattened

METHODS = {
    "pm_card_chargeCustomerFail": "generic_decline",
    "pm_card_visa_chargeDeclined": "generic_decline",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_visa_chargeDeclinedLostCard": "lost_card",
    "pm_card_chargeDeclinedExpiredCard": "expired_card",
}
CANCELLABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
RATE_LIMIT_S = 7


def error(status: int, kind: str, code: str | None = None, **more: Any) -> Answer:
    said = {"type": kind, "code": code, "message": "for people only", **more}
    return Answer(status=status, body={"error": said}, headers={"Request-Id": "req_fake"})


class StripeFake(ProviderFake):
    provider = "stripe"
    key_life = timedelta(hours=24)
    headers = frozenset({"authorization", "content-type", "idempotency-key", "stripe-version"})
    early = MappingProxyType(
        {
            "rate_limited": Answer(
                status=429,
                body={"error": {"type": "invalid_request_error", "code": "rate_limit"}},
                headers={"Retry-After": str(RATE_LIMIT_S)},
            ),
            "bad_credentials": error(401, "invalid_request_error"),
            "key_in_use": error(409, "idempotency_error", "idempotency_key_in_use"),
            "unavailable": error(503, "api_error"),
        }
    )
    broken = error(500, "api_error")
    mismatch = error(400, "idempotency_error")

    def __init__(self, *args: Any, secret_key: str = "sk_test_51Fake") -> None:
        super().__init__(*args)
        self.secret_key = secret_key
        self.intents: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)

    def said(self, heard: Heard, known: str) -> dict[str, Any]:
        if "stripe-version" not in heard.headers:
            raise ValueError("no Stripe-Version")
        text = heard.query if heard.method == "GET" else heard.body.decode()
        return unflattened(pairs(text), schemas("stripe")[known])

    def kept_again(self, answer: Answer, key: str) -> Answer:
        return Answer(
            status=answer.status,
            body=answer.body,
            headers={**answer.headers, "Idempotent-Replayed": "true"},
        )

    def keeps(self, answer: Answer) -> bool:
        return answer.status not in (400, 401, 404)

    def other_amount(self, answer: Answer) -> Answer:
        return changed(answer, amount_received=answer.body["amount"] + 1)

    def act(self, heard: Heard, said: Mapping[str, Any], known: str) -> Answer:
        if heard.headers.get("authorization") != f"Bearer {self.secret_key}":
            return self.early["bad_credentials"]
        name = heard.path.split("/")[3] if heard.path.count("/") > 2 else ""
        match known:
            case "POST /v1/payment_intents":
                return self._create(said, heard.key or "")
            case "GET /v1/payment_intents":
                return self._list(said)
            case "GET /v1/payment_intents/{id}":
                return self._read(self.intents, name)
            case "POST /v1/payment_intents/{id}/cancel":
                return self._cancel(name)
            case "POST /v1/refunds":
                return self._refund(said)
            case "GET /v1/refunds/{id}":
                return self._read(self.refunds, name)
        return Answer(status=200, body={"object": "balance", "livemode": False})

    def _create(self, said: Mapping[str, Any], key: str) -> Answer:
        if said["customer"] == "cus_missing":
            return error(404, "invalid_request_error", "resource_missing", param="customer")
        intent = self._new(said)
        method = said["payment_method"]
        if method == "pm_card_authenticationRequired":
            return self._refuse(intent, "authentication_required", "authentication_required")
        if method in METHODS:
            return self._refuse(intent, "card_declined", METHODS[method])
        self._take(intent, key)
        if method == "pm_processing":
            intent["status"] = "processing"
        return Answer(status=200, body=dict(intent), headers={"Request-Id": "req_fake"})

    def _new(self, said: Mapping[str, Any]) -> dict[str, Any]:
        intent = {
            "id": f"pi_{next(self._numbers)}",
            "object": "payment_intent",
            "amount": said["amount"],
            "amount_received": 0,
            "currency": said["currency"],
            "customer": said["customer"],
            "created": int(self.now().timestamp()),
            "livemode": False,
            "metadata": dict(said["metadata"]),
            "last_payment_error": None,
            "status": "requires_payment_method",
        }
        self.intents[intent["id"]] = intent
        return intent

    def _take(self, intent: dict[str, Any], key: str) -> None:
        intent.update(status="succeeded", amount_received=intent["amount"])
        self.charges.append(
            Charge(
                reference=intent["metadata"]["abaxus_attempt_id"],
                amount=intent["amount"],
                currency=intent["currency"],
                payment_id=intent["id"],
                key=key,
            )
        )

    def _refuse(self, intent: dict[str, Any], code: str, reason: str) -> Answer:
        said = {"type": "card_error", "code": code, "decline_code": reason}
        intent["last_payment_error"] = said
        return error(402, "card_error", code, decline_code=reason, payment_intent=dict(intent))

    def _list(self, said: Mapping[str, Any]) -> Answer:
        """Newest first, of one customer, in a window, a page at a time."""
        first, last = int(said["created"]["gte"]), int(said["created"]["lte"])
        found = [
            one
            for one in reversed(self.intents.values())
            if one["customer"] == said["customer"] and first <= one["created"] <= last
        ]
        if "starting_after" in said:
            ids = [one["id"] for one in found]
            found = found[ids.index(said["starting_after"]) + 1 :]
        page = found[: said["limit"]]
        return Answer(
            status=200, body={"object": "list", "data": page, "has_more": len(found) > len(page)}
        )

    def _read(self, things: dict[str, dict[str, Any]], name: str) -> Answer:
        if name not in things:
            return error(404, "invalid_request_error", "resource_missing")
        if things[name]["status"] == "processing":
            things[name]["status"] = "succeeded"
        return Answer(status=200, body=dict(things[name]))

    def _cancel(self, name: str) -> Answer:
        intent = self.intents[name]
        if intent["status"] not in CANCELLABLE:
            code = "payment_intent_unexpected_state"
            return error(400, "invalid_request_error", code, payment_intent=dict(intent))
        intent["status"] = "canceled"
        return Answer(status=200, body=dict(intent))

    def _refund(self, said: Mapping[str, Any]) -> Answer:
        intent = self.intents[said["payment_intent"]]
        back = sum(
            one["amount"] for one in self.refunds.values() if one["payment_intent"] == intent["id"]
        )
        if back + said["amount"] > intent["amount_received"]:
            return error(400, "invalid_request_error", "charge_already_refunded")
        refund = {
            "id": f"re_{next(self._numbers)}",
            "object": "refund",
            "status": "succeeded",
            "currency": intent["currency"],
            **said,
        }
        self.refunds[refund["id"]] = refund
        return Answer(status=200, body=dict(refund))

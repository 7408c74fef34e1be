"""Mollie's payments, stateful; provider_fake.py says how it misbehaves.

`mdt_Failed` is refused for want of funds, `mdt_Pending` is paid when it is looked up, `mdt_None` is
no mandate; anything else is charged.
"""

import itertools
import json
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from tests.support.provider_fake import Answer, Charge, Heard, ProviderFake, changed, pairs

PAGE_ROWS = 2
TITLES = {
    400: "Bad Request",
    401: "Unauthorized Request",
    404: "Not Found",
    409: "Conflict",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


def error(status: int, **more: str) -> Answer:
    said = {"status": status, "title": TITLES[status], "detail": "for people only", **more}
    return Answer(status=status, body=said, headers={"Content-Type": "application/hal+json"})


class MollieFake(ProviderFake):
    provider = "mollie"
    key_life = timedelta(hours=1)
    headers = frozenset({"authorization", "content-type", "idempotency-key"})
    early = MappingProxyType(
        {
            "rate_limited": error(429),
            "bad_credentials": error(401),
            "key_in_use": error(409),
            "unavailable": error(503),
        }
    )
    broken = error(500)
    mismatch = error(400)

    def __init__(self, *args: Any, api_key: str, profile_id: str) -> None:
        super().__init__(*args)
        self.api_key = api_key
        self.profile_id = profile_id
        self.payments: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)

    def said(self, heard: Heard, known: str) -> dict[str, Any]:
        if heard.method == "GET":
            return dict(pairs(heard.query))
        said: dict[str, Any] = json.loads(heard.body)
        return said

    def kept_again(self, answer: Answer, key: str) -> Answer:
        headers = {**answer.headers, "Idempotent-Replayed": "true"}
        return Answer(status=answer.status, body=answer.body, headers=headers)

    def keeps(self, answer: Answer) -> bool:
        return answer.status < 400 or answer.status >= 500

    def other_amount(self, answer: Answer) -> Answer:
        return changed(answer, amount={**answer.body["amount"], "value": "1.00"})

    def act(self, heard: Heard, said: Mapping[str, Any], known: str) -> Answer:
        if heard.headers.get("authorization") != f"Bearer {self.api_key}":
            return self.early["bad_credentials"]
        name = heard.path.split("/")[3] if heard.path.count("/") > 2 else ""
        match known:
            case "POST /v2/payments":
                return self._create(said, heard.key or "")
            case "GET /v2/payments/{id}":
                return self._read(name)
        return self._list(name, said.get("from"))

    def _create(self, said: Mapping[str, Any], key: str) -> Answer:
        if said["mandateId"] == "mdt_None":
            return error(422, field="mandateId")
        payment = {
            **said,
            "resource": "payment",
            "id": f"tr_{next(self._numbers)}",
            "mode": self.api_key.partition("_")[0],
            "createdAt": self.now().strftime("%Y-%m-%dT%H:%M:%S+00:00"),
            "profileId": self.profile_id,
            "status": {"mdt_Failed": "failed", "mdt_Pending": "pending"}.get(
                said["mandateId"], "paid"
            ),
        }
        if payment["status"] == "failed":
            payment["details"] = {"failureReason": "insufficient_funds"}
        else:
            self._take(payment, key)
        self.payments[payment["id"]] = payment
        return Answer(status=201, body=dict(payment))

    def _take(self, payment: Mapping[str, Any], key: str) -> None:
        self.charges.append(
            Charge(
                reference=payment["metadata"]["abaxus_attempt_id"],
                amount=int(payment["amount"]["value"].replace(".", "")),
                currency=payment["amount"]["currency"],
                payment_id=payment["id"],
                key=key,
            )
        )

    def _read(self, name: str) -> Answer:
        if name not in self.payments:
            return error(404)
        if self.payments[name]["status"] == "pending":
            self.payments[name]["status"] = "paid"
        return Answer(status=200, body=dict(self.payments[name]))

    def _list(self, customer: str, start: str | None) -> Answer:
        """Newest first, fewer to a page than were asked for."""
        found = [one for one in reversed(self.payments.values()) if one["customerId"] == customer]
        ids = [one["id"] for one in found]
        first = ids.index(start) if start else 0
        page, rest = found[first : first + PAGE_ROWS], ids[first + PAGE_ROWS :]
        path = f"https://api.mollie.com/v2/customers/{customer}/payments"
        links = {"next": {"href": f"{path}?from={rest[0]}&limit={PAGE_ROWS}"} if rest else None}
        body = {"count": len(page), "_embedded": {"payments": page}, "_links": links}
        return Answer(status=200, body=body)

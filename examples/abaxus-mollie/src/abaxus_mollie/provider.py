"""Mollie's Payments API as a payment provider."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final
from uuid import UUID

import httpx
import msgspec

from abaxus_core.plugin.http import Silence, answered, decoded
from abaxus_core.plugin.payments import (
    Capabilities,
    ChargeRequest,
    FrozenRequest,
    InvalidRequest,
    NotFound,
    Outcome,
)
from abaxus_mollie import amounts, outcomes, wire
from abaxus_mollie.settings import Settings
from abaxus_mollie.wire import Asked, Payment

HOST: Final = "api.mollie.com"
KEY_LIFE: Final = timedelta(hours=1)
"""Source: docs.mollie.com/reference/api-idempotency, read 2026-11."""

_CUSTOMER: Final = re.compile(r"cst_[A-Za-z0-9]{1,64}")
_MANDATE: Final = re.compile(r"mdt_[A-Za-z0-9]{1,64}")
_PAYMENT: Final = re.compile(r"tr_[A-Za-z0-9]{1,64}")
# The list is looked through this much before the first send: their clock is not ours.
_CLOCKS_DIFFER: Final = timedelta(minutes=5)
# After this, no send can still be under way.
_SETTLED: Final = timedelta(hours=1)
_PAGE_ROWS: Final = "250"
_PAGES_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class _Look:
    """One pass over a customer's payments; `at` is Mollie's time of it, None: not complete."""

    found: Payment | None
    at: datetime | None


class Mollie:
    """One profile. Sends a closed list of headers and fields (README.md)."""

    capabilities = Capabilities(
        idempotency_ttl_s=int(KEY_LIFE.total_seconds()),
        fetch=True,
        find=True,
        currencies=amounts.CURRENCIES,
    )

    def __init__(self, settings: Settings, http: httpx.AsyncClient) -> None:
        self._key = settings.api_key
        self._profile = settings.profile_id
        self._mode = settings.mode
        self._description = settings.description
        self._http = http
        self.account = f"{settings.profile_id} {settings.mode}"

    def prepare(self, request: ChargeRequest) -> FrozenRequest:
        value = amounts.to_value(request.amount, request.currency)
        body = {
            "amount": {"currency": request.currency, "value": value},
            "description": self._description,
            "sequenceType": "recurring",
            "customerId": _reference(_CUSTOMER, request.customer_ref, "a customer, cst_…"),
            "mandateId": _reference(_MANDATE, request.payment_method_ref, "a mandate, mdt_…"),
            "metadata": {"abaxus_attempt_id": str(request.attempt_id)},
        }
        return FrozenRequest(
            method="POST",
            path=wire.PAYMENTS,
            headers=(("Content-Type", "application/json"),),
            body=msgspec.json.encode(body),
        )

    async def charge(self, request: FrozenRequest, key: str, *, replay: bool) -> Outcome:
        headers = {**dict(request.headers), **self._authorization(), "Idempotency-Key": key}
        sent = self._http.request(
            request.method, f"https://{HOST}{request.path}", content=request.body, headers=headers
        )
        answer = await answered(sent, replay=replay)
        if isinstance(answer, Silence):
            return Outcome(status=answer.status, code=answer.code)
        return outcomes.of_charge(
            answer, _asked(request), profile=self._profile, mode=self._mode, replay=replay
        )

    async def fetch(self, provider_ref: str, request: FrozenRequest) -> Outcome:
        reference = _reference(_PAYMENT, provider_ref, "a payment, tr_…")
        answer = await self._get(f"{wire.PAYMENTS}/{reference}")
        payment = decoded(answer, Payment) if answer.status_code == httpx.codes.OK else None
        if payment is None or payment.id != provider_ref:
            return Outcome(status="unknown", http_status=answer.status_code)
        return self._of_payment(payment, _asked(request))

    async def find(
        self, attempt_id: UUID, request: FrozenRequest, *, sent_from: datetime, sent_until: datetime
    ) -> Outcome | NotFound:
        """From the customer's list of payments, which Mollie names as the way to find out.

        Conclusive after a complete look, once the key is forgotten and no send under way.
        """
        asked = _asked(request)
        look = await self._look(asked, str(attempt_id), since=sent_from - _CLOCKS_DIFFER)
        if look.found is not None:
            return self._of_payment(look.found, asked)
        return NotFound(conclusive=_too_late(look.at, sent_from, sent_until))

    async def _look(self, asked: Asked, attempt_id: str, *, since: datetime) -> _Look:
        customer = _reference(_CUSTOMER, asked.customerId, "a customer, cst_…")
        query = {"limit": _PAGE_ROWS}
        for _ in range(_PAGES_MAX):
            answer = await self._get(f"/v2/customers/{customer}/payments", query)
            page = decoded(answer, wire.Page) if answer.status_code == httpx.codes.OK else None
            if page is None:
                break
            payments = page.embedded.payments
            for payment in payments:
                if payment.attempt_id == attempt_id:
                    return _Look(payment, None)
            if page.links.next is None or (payments and payments[-1].createdAt < since):
                return _Look(None, _time_of(answer))
            query["from"] = httpx.URL(page.links.next.href).params.get("from", "")
        return _Look(None, None)

    def _of_payment(self, payment: Payment, asked: Asked) -> Outcome:
        return outcomes.of_payment(payment, asked, profile=self._profile, mode=self._mode)

    async def _get(self, path: str, query: Mapping[str, str] | None = None) -> httpx.Response:
        return await self._http.get(
            f"https://{HOST}{path}", params=query, headers=self._authorization()
        )

    def _authorization(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._key.reveal()}"}


def _asked(request: FrozenRequest) -> Asked:
    return msgspec.json.decode(request.body, type=Asked)


def _reference(form: re.Pattern[str], reference: str, what: str) -> str:
    if form.fullmatch(reference) is None:
        raise InvalidRequest("reference_invalid", f"Mollie's id of {what}, is needed")
    return reference


def _too_late(at: datetime | None, sent_from: datetime, sent_until: datetime) -> bool:
    """Whether, by Mollie's clock, nothing that was sent can still become a charge."""
    if at is None:
        return False
    return at >= sent_from + KEY_LIFE + _SETTLED and at >= sent_until + _SETTLED


def _time_of(answer: httpx.Response) -> datetime | None:
    """When Mollie says it answered."""
    try:
        at = parsedate_to_datetime(answer.headers.get("Date", ""))
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo is not None else None

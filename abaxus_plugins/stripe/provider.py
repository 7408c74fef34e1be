"""Stripe's PaymentIntents API as a payment provider."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final
from uuid import UUID

import httpx
from msgspec.structs import replace

from abaxus_core.plugin.http import Silence, answered, decoded
from abaxus_core.plugin.payments import (
    Capabilities,
    ChargeRequest,
    FrozenRequest,
    InvalidRequest,
    NotFound,
    Outcome,
    ProviderEvent,
    RefundOutcome,
    RefundRequest,
    WebhookRefused,
)
from abaxus_plugins.stripe import amounts, outcomes, webhooks, wire
from abaxus_plugins.stripe.settings import Settings
from abaxus_plugins.stripe.wire import Asked, Intent

HOST: Final = "api.stripe.com"
KEY_LIFE: Final = timedelta(hours=24)
"""Stripe forgets a key 24 hours after its first use, at the earliest."""

CAPABILITIES: Final = Capabilities(
    idempotency_ttl_s=86_400, fetch=True, find=True, refund=True, cancel=True, validate=True
)

_CUSTOMER: Final = re.compile(r"cus_[A-Za-z0-9_]{1,246}")
_METHOD: Final = re.compile(r"(?:pm|card|src)_[A-Za-z0-9_]{1,246}")
_ID: Final = re.compile(r"(?:pi|re|pyr)_[A-Za-z0-9_]{1,246}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# A list is looked through this much around the sends: their clock is not ours.
_CLOCKS_DIFFER: Final = timedelta(minutes=5)
# After this, no send can still be under way.
_SETTLED: Final = timedelta(hours=1)
_PAGE_ROWS: Final = 100
_PAGES_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class _Look:
    """One pass over a customer's intents; `at` is Stripe's time of it."""

    found: Sequence[Intent]
    complete: bool
    at: datetime | None


class Stripe:
    """One account. Sends a closed list of headers and fields (README.md)."""

    def __init__(self, settings: Settings, http: httpx.AsyncClient) -> None:
        self._key = settings.secret_key
        self._version = str(settings.api_version)
        self._http = http
        self._webhook_secret = settings.webhook_secret
        self.capabilities = replace(CAPABILITIES, webhook=settings.webhook_secret is not None)
        self.account = hashlib.sha256(settings.secret_key.reveal().encode()).hexdigest()

    def prepare(self, request: ChargeRequest) -> FrozenRequest:
        fields = {
            "amount": str(amounts.to_minor(request.amount, request.currency)),
            "currency": request.currency.lower(),
            "customer": _reference(_CUSTOMER, request.customer_ref, "a customer, cus_…"),
            "payment_method": _reference(
                _METHOD, request.payment_method_ref, "a payment method, pm_…"
            ),
            "automatic_payment_methods[enabled]": "true",
            "automatic_payment_methods[allow_redirects]": "never",
            "confirm": "true",
            "off_session": "true",
            "error_on_requires_action": "true",
            wire.ATTEMPT: str(request.attempt_id),
        }
        return self._frozen(wire.INTENTS, fields)

    async def charge(self, request: FrozenRequest, key: str, *, replay: bool) -> Outcome:
        answer = await answered(self._post(request, key), replay=replay)
        if isinstance(answer, Silence):
            return Outcome(status=answer.status, code=answer.code)
        asked = wire.asked(request, wire.ATTEMPT)
        return outcomes.of_charge(answer, asked, live=self._key.live, replay=replay)

    async def fetch(self, provider_ref: str, request: FrozenRequest) -> Outcome:
        answer = await self._get(f"{wire.INTENTS}/{_id(provider_ref)}")
        intent = decoded(answer, Intent) if answer.status_code == httpx.codes.OK else None
        if intent is None or intent.id != provider_ref:
            return Outcome(status="unknown", http_status=answer.status_code)
        return self._of_intent(intent, wire.asked(request, wire.ATTEMPT))

    async def find(
        self,
        attempt_id: UUID,  # noqa: ARG002 - the request says it, too
        request: FrozenRequest,
        *,
        sent_from: datetime,
        sent_until: datetime,
    ) -> Outcome | NotFound:
        """From the customer's list, which does not lag, as Stripe's search does.

        Conclusive after two complete looks, once the key is forgotten and no send under way.
        """
        asked = wire.asked(request, wire.ATTEMPT)
        for conclusive in (False, True):
            look = await self._look(request, asked, sent_from, sent_until)
            if look.found:
                return self._of_found(look.found, asked)
            if not look.complete or not _too_late(look.at, sent_from, sent_until):
                break
            if conclusive:
                return NotFound(conclusive=True)
        return NotFound(conclusive=False)

    async def cancel(
        self, request: FrozenRequest, key: str, *, provider_ref: str | None
    ) -> Outcome:
        if provider_ref is None:
            return Outcome(status="unknown", code="no_reference")
        path = f"{wire.INTENTS}/{_id(provider_ref)}/cancel"
        cancellation = self._frozen(path, {"cancellation_reason": "abandoned"})
        answer = await self._post(cancellation, key)
        asked = wire.asked(request, wire.ATTEMPT)
        return outcomes.of_cancellation(answer, asked, live=self._key.live)

    def prepare_refund(self, request: RefundRequest) -> FrozenRequest:
        fields = {
            "payment_intent": _id(request.provider_ref),
            "amount": str(amounts.to_minor(request.amount, request.currency)),
            wire.REFUND: str(request.refund_id),
        }
        return self._frozen(wire.REFUNDS, fields)

    async def refund(self, request: FrozenRequest, key: str, *, replay: bool) -> RefundOutcome:
        answer = await answered(self._post(request, key), replay=replay)
        if isinstance(answer, Silence):
            return RefundOutcome(status=answer.status, code=answer.code)
        return outcomes.of_refund(answer, wire.asked(request, wire.REFUND), replay=replay)

    async def fetch_refund(self, provider_ref: str, request: FrozenRequest) -> RefundOutcome:
        answer = await self._get(f"{wire.REFUNDS}/{_id(provider_ref)}")
        if answer.status_code != httpx.codes.OK:
            return RefundOutcome(status="unknown")
        return outcomes.of_refund(answer, wire.asked(request, wire.REFUND), replay=True)

    async def validate(self) -> Sequence[str]:
        try:
            answer = await self._get(wire.BALANCE)
        except httpx.TransportError as error:
            return (f"{HOST} cannot be reached: {type(error).__name__}",)
        balance = decoded(answer, wire.Balance)
        match answer.status_code:
            case 200 if balance is not None and balance.livemode is self._key.live:
                return ()
            case 200:
                return ("STRIPE_SECRET_KEY: Stripe's answer is not of the key's mode",)
            case 401:
                return ("STRIPE_SECRET_KEY: Stripe does not accept this key",)
            case 403:
                return ("STRIPE_SECRET_KEY: this restricted key may not read the balance",)
            case status:
                return (f"{HOST} answered with HTTP status {status}",)

    def parse_webhook(
        self, headers: Mapping[str, str], body: bytes, *, now: datetime
    ) -> Sequence[ProviderEvent]:
        if self._webhook_secret is None:
            raise WebhookRefused("no secret is configured")
        return webhooks.parse(headers, body, self._webhook_secret, live=self._key.live, now=now)

    async def _look(
        self, request: FrozenRequest, asked: Asked, sent_from: datetime, sent_until: datetime
    ) -> _Look:
        query = {
            "customer": wire.fields_of(request)["customer"],
            "created[gte]": str((sent_from - _CLOCKS_DIFFER - _EPOCH) // timedelta(seconds=1)),
            "created[lte]": str((sent_until + _CLOCKS_DIFFER - _EPOCH) // timedelta(seconds=1)),
            "limit": str(_PAGE_ROWS),
        }
        found: list[Intent] = []
        for _ in range(_PAGES_MAX):
            answer = await self._get(wire.INTENTS, query)
            page = decoded(answer, wire.Page) if answer.status_code == httpx.codes.OK else None
            if page is None:
                return _Look(found, complete=False, at=None)
            found += [one for one in page.data if _is_of(one, asked)]
            if not page.has_more or not page.data:
                return _Look(found, complete=not page.has_more, at=_time_of(answer))
            query["starting_after"] = page.data[-1].id
        return _Look(found, complete=False, at=None)

    def _of_found(self, found: Sequence[Intent], asked: Asked) -> Outcome:
        if len(found) > 1:
            return Outcome(status="unknown", code="found_twice", provider_ref=found[0].id)
        return self._of_intent(found[0], asked)

    def _of_intent(self, intent: Intent, asked: Asked) -> Outcome:
        return outcomes.of_intent(intent, asked, live=self._key.live)

    def _frozen(self, path: str, fields: Mapping[str, str]) -> FrozenRequest:
        headers = (
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Stripe-Version", self._version),
        )
        return FrozenRequest(method="POST", path=path, headers=headers, body=wire.form(fields))

    async def _post(self, request: FrozenRequest, key: str) -> httpx.Response:
        headers = {**dict(request.headers), **self._authorization(), "Idempotency-Key": key}
        return await self._http.request(
            request.method, f"https://{HOST}{request.path}", content=request.body, headers=headers
        )

    async def _get(self, path: str, query: Mapping[str, str] | None = None) -> httpx.Response:
        headers = {**self._authorization(), "Stripe-Version": self._version}
        return await self._http.get(f"https://{HOST}{path}", params=query, headers=headers)

    def _authorization(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._key.reveal()}"}


def _reference(form: re.Pattern[str], reference: str, what: str) -> str:
    if form.fullmatch(reference) is None:
        raise InvalidRequest("reference_invalid", f"Stripe's id of {what}, is needed")
    return reference


def _id(reference: str) -> str:
    """The id, safe to stand in a path."""
    return _reference(_ID, reference, "a payment or refund")


def _is_of(intent: Intent, asked: Asked) -> bool:
    return (intent.metadata or {}).get("abaxus_attempt_id") == asked.id


def _too_late(at: datetime | None, sent_from: datetime, sent_until: datetime) -> bool:
    """Whether, by Stripe's clock, nothing that was sent can still become a charge."""
    if at is None:
        return False
    return at >= sent_from + KEY_LIFE + _SETTLED and at >= sent_until + _SETTLED


def _time_of(answer: httpx.Response) -> datetime | None:
    """When Stripe says it answered."""
    try:
        at = parsedate_to_datetime(answer.headers.get("Date", ""))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None

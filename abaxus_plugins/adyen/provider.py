"""Adyen's Checkout API as a payment provider. It has no call that reads a payment back."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
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
from abaxus_plugins.adyen import amounts, outcomes, webhooks, wire
from abaxus_plugins.adyen.settings import Settings
from abaxus_plugins.adyen.wire import Amount, Payment, Refund, StoredMethod

CAPABILITIES: Final = Capabilities(
    idempotency_ttl_s=7 * 86_400,
    fetch=False,
    find=False,
    refund=True,
    cancel=True,
    validate=True,
    currencies=amounts.CURRENCIES,
)

_SHOPPER: Final = re.compile(r"[!-?A-~]{3,256}")
_METHOD: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PSP: Final = re.compile(r"[A-Za-z0-9]{1,64}")


class Adyen:
    """One merchant account. Sends a closed list of headers and fields (README.md)."""

    def __init__(self, settings: Settings, http: httpx.AsyncClient) -> None:
        self._settings = settings
        self._merchant = str(settings.merchant_account)
        self._http = http
        self._webhook_key = settings.webhook_hmac_key
        self.capabilities = replace(CAPABILITIES, webhook=settings.webhook_hmac_key is not None)
        # Keys are not shared between Adyen's regions, so another host is another account.
        self.account = f"{settings.host}/{settings.merchant_account}"

    def prepare(self, request: ChargeRequest) -> FrozenRequest:
        method_id = _reference(_METHOD, request.payment_method_ref, "stored payment method")
        body = Payment(
            amount=_amount(request),
            merchant_account=self._merchant,
            reference=request.attempt_id.hex,
            payment_method=StoredMethod(stored_payment_method_id=method_id),
            shopper_reference=_reference(_SHOPPER, request.customer_ref, "shopper reference"),
            recurring_processing_model=self._settings.recurring_processing_model,
            return_url=str(self._settings.return_url),
        )
        return wire.frozen(wire.PAYMENTS, body)

    async def charge(self, request: FrozenRequest, key: str, *, replay: bool) -> Outcome:
        answer = await answered(self._post(request, key), replay=replay)
        if isinstance(answer, Silence):
            return Outcome(status=answer.status, code=answer.code)
        return outcomes.of_charge(answer, wire.asked(request, Payment), replay=replay)

    async def fetch(
        self,
        provider_ref: str,  # noqa: ARG002 - never asked: capabilities.fetch is False
        request: FrozenRequest,  # noqa: ARG002
    ) -> Outcome:
        return Outcome(status="unknown")

    async def find(
        self,
        attempt_id: UUID,  # noqa: ARG002 - never asked: capabilities.find is False
        request: FrozenRequest,  # noqa: ARG002
        *,
        sent_from: datetime,  # noqa: ARG002
        sent_until: datetime,  # noqa: ARG002
    ) -> Outcome | NotFound:
        return NotFound(conclusive=False)

    async def cancel(
        self, request: FrozenRequest, key: str, *, provider_ref: str | None
    ) -> Outcome:
        """By Adyen's reference of the payment, else by ours: of an answer that was lost, too."""
        ours = wire.asked(request, Payment).reference
        body = {"merchantAccount": self._merchant, "reference": ours}
        if provider_ref is None:
            cancellation = wire.frozen(wire.CANCELS, {**body, "paymentReference": ours})
        else:
            cancellation = wire.frozen(f"{wire.PAYMENTS}/{_psp(provider_ref)}/cancels", body)
        return outcomes.of_cancellation(await self._post(cancellation, key))

    def prepare_refund(self, request: RefundRequest) -> FrozenRequest:
        body = Refund(
            amount=_amount(request),
            merchant_account=self._merchant,
            reference=request.refund_id.hex,
        )
        return wire.frozen(f"{wire.PAYMENTS}/{_psp(request.provider_ref)}/refunds", body)

    async def refund(self, request: FrozenRequest, key: str, *, replay: bool) -> RefundOutcome:
        answer = await answered(self._post(request, key), replay=replay)
        if isinstance(answer, Silence):
            return RefundOutcome(status=answer.status, code=answer.code)
        return outcomes.of_refund(answer, wire.asked(request, Refund), replay=replay)

    async def fetch_refund(
        self,
        provider_ref: str,  # noqa: ARG002 - Adyen tells it to webhooks and reports alone
        request: FrozenRequest,  # noqa: ARG002
    ) -> RefundOutcome:
        return RefundOutcome(status="unknown")

    async def validate(self) -> Sequence[str]:
        host = self._settings.host
        body = {"merchantAccount": self._merchant}
        try:
            answer = await self._post(wire.frozen(wire.METHODS, body), None)
        except httpx.TransportError as error:
            return (f"{host} cannot be reached: {type(error).__name__}",)
        match answer.status_code:
            case 200 if decoded(answer, wire.Methods) is not None:
                return ()
            case 401:
                return ("ADYEN_API_KEY: Adyen does not accept this key",)
            case 403:
                return ("ADYEN_API_KEY: this key may not use ADYEN_MERCHANT_ACCOUNT",)
            case status:
                return (f"{host} answered with HTTP status {status}",)

    def parse_webhook(
        self,
        headers: Mapping[str, str],  # noqa: ARG002 - what is signed is in the body
        body: bytes,
        *,
        now: datetime,  # noqa: ARG002 - nothing in it grows old
    ) -> Sequence[ProviderEvent]:
        if self._webhook_key is None:
            raise WebhookRefused("no key is configured")
        return webhooks.parse(body, self._webhook_key, self._merchant)

    async def _post(self, request: FrozenRequest, key: str | None) -> httpx.Response:
        headers = {**dict(request.headers), **self._authorization()}
        if key is not None:
            headers[outcomes.KEY_HEADER] = key
        return await self._http.request(
            request.method,
            self._settings.base + request.path,
            content=request.body,
            headers=headers,
        )

    def _authorization(self) -> Mapping[str, str]:
        return {"X-API-Key": self._settings.api_key.reveal()}


def _amount(request: ChargeRequest | RefundRequest) -> Amount:
    value = amounts.to_minor(request.amount, request.currency)
    return Amount(currency=request.currency, value=value)


def _reference(form: re.Pattern[str], reference: str, what: str) -> str:
    if form.fullmatch(reference) is None:
        raise InvalidRequest("reference_invalid", f"Adyen's {what} cannot be what is given")
    return reference


def _psp(reference: str) -> str:
    """A pspReference, safe to stand in a path."""
    return _reference(_PSP, reference, "reference of the payment")

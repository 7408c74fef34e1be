"""The sandbox: the payment method decides what happens. It keeps nothing, so every process and
every replica gives the same answers; README.md lists them.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from abaxus_core.plugin.payments import (
    Capabilities,
    ChargeRequest,
    FrozenRequest,
    NotFound,
    Outcome,
)
from abaxus_plugins.sandbox import wire


class Sandbox:
    """Has no memory of keys, hence no replays: what was lost is found by looking it up."""

    capabilities = Capabilities(idempotency_ttl_s=0, fetch=True, find=True)
    account = "sandbox"

    def prepare(self, request: ChargeRequest) -> FrozenRequest:
        charge = wire.Charge(
            attempt_id=request.attempt_id,
            amount=request.amount,
            currency=request.currency,
            customer=request.customer_ref,
            payment_method=request.payment_method_ref,
        )
        return FrozenRequest(method="POST", path="/charges", body=msgspec.json.encode(charge))

    async def charge(
        self,
        request: FrozenRequest,
        key: str,  # noqa: ARG002 - nothing is remembered under it
        *,
        replay: bool,
    ) -> Outcome:
        charge = _decode(request)
        match charge.payment_method:
            case "pm_ok":
                return wire.succeeded(charge)
            case "pm_pending":
                return Outcome(status="pending", provider_ref=charge.payment_id)
            case "pm_requires_action":
                return Outcome(status="requires_action", provider_ref=charge.payment_id)
            case "pm_timeout" | "pm_lost":
                return Outcome(status="unknown", code="timeout")
            case "pm_down":
                return Outcome(status="unknown" if replay else "transient", code="unavailable")
            case method:
                return wire.DECLINES.get(method, wire.UNKNOWN_METHOD)

    async def fetch(
        self,
        provider_ref: str,  # noqa: ARG002 - it follows from the request
        request: FrozenRequest,
    ) -> Outcome:
        charge = _decode(request)
        if charge.payment_method == "pm_requires_action":
            return Outcome(status="requires_action", provider_ref=charge.payment_id)
        return wire.succeeded(charge)

    async def find(
        self,
        attempt_id: UUID,  # noqa: ARG002
        request: FrozenRequest,
        *,
        sent_from: datetime,  # noqa: ARG002 - there is nothing to search
        sent_until: datetime,  # noqa: ARG002
    ) -> Outcome | NotFound:
        charge = _decode(request)
        match charge.payment_method:
            case "pm_ok" | "pm_timeout":
                return wire.succeeded(charge)
            case "pm_pending" | "pm_requires_action":
                return await self.charge(request, "", replay=False)
            case "pm_lost" | "pm_down":
                return NotFound(conclusive=True)
            case method:
                return wire.DECLINES.get(method, wire.UNKNOWN_METHOD)


def _decode(request: FrozenRequest) -> wire.Charge:
    return msgspec.json.decode(request.body, type=wire.Charge)

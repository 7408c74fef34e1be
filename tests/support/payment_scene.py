"""A provider's fake, and API and worker processes that charge through it and are killed.

The fake lives in the test and outlives all of them; their time runs `speed` times as fast as ours.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import msgspec

from abaxus_core.domain.payments import Payment
from abaxus_core.kernel.clock import system_clock
from abaxus_core.services.work import Context
from tests.support.adyen_fake import AdyenFake
from tests.support.api import bearer, new_key
from tests.support.collection import actions_of, invoice_of, make_context, make_invoice, payments_of
from tests.support.fleet import Fleet, Member
from tests.support.payment_process import FastClock
from tests.support.ports import free_port
from tests.support.postgres import TestDatabases
from tests.support.provider_fake import ProviderFake
from tests.support.stripe_fake import StripeFake
from tests.support.waiting import eventually

SPEED = 60
FAKES: Mapping[str, tuple[type[ProviderFake], str, str]] = {
    "stripe": (StripeFake, "api.stripe.com", "pm_card_visa"),
    "adyen": (AdyenFake, "checkout-test.adyen.com", "8415718415172204"),
}
ENVIRON: Mapping[str, str] = {
    "STRIPE_SECRET_KEY": "sk_test_51Fake",
    "ADYEN_API_KEY": "AQEfake-key",
    "ADYEN_MERCHANT_ACCOUNT": "AcmeECOM",
    "LOG_LEVEL": "error",
}


@dataclass(slots=True)
class Scene:
    """`clock`: the processes' and the fake's."""

    name: str
    up: Fleet
    fake: ProviderFake
    context: Context
    key: str
    clock: FastClock
    customers: int = 0

    async def invoice(self, *, method: str | None = None) -> str:
        """The id of an issued invoice of a new customer."""
        self.customers += 1
        return await make_invoice(
            self.context.database,
            self.clock(),
            method=method or FAKES[self.name][2],
            provider=self.name,
            customer_id=f"cus_{self.name}_{self.customers}",
        )

    async def api(self, **environ: str) -> Member:
        """An API process that listens."""
        port = free_port()
        pid = await self.up.start("payment_api", PORT=str(port), **self._environ(environ))
        member = Member(kind="api", pid=pid, port=port)
        await eventually(self.up.is_ready, member)
        return member

    async def worker(self, **environ: str) -> Member:
        pid = await self.up.start("payment_worker", **self._environ(environ))
        return Member(kind="worker", pid=pid)

    async def post(self, api: Member, path: str, body: object = None) -> httpx.Response | None:
        """The answer; None where the process died first."""
        try:
            return await self.up.client(api.port).post(path, json=body, headers=bearer(self.key))
        except httpx.TransportError:
            return None

    async def charge(self, api: Member, invoice_id: str) -> httpx.Response | None:
        return await self.post(api, f"/v1/invoices/{invoice_id}/charge")

    async def ends(self, member: Member) -> None:
        """Wait until the process has died by itself."""
        await eventually(self.up.has_ended, member.pid)

    async def last(self, invoice_id: str) -> Payment:
        return (await payments_of(self.context, invoice_id))[-1]

    async def becomes(self, invoice_id: str, state: str) -> None:
        """Wait until the invoice's last attempt is in the state."""

        async def is_it() -> bool:
            return (await self.last(invoice_id)).state == state

        await eventually(is_it)

    def wait(self, by: timedelta) -> None:
        """Have so much time gone by for the fake and for all processes that start from now on."""
        self.clock = msgspec.structs.replace(self.clock, ahead=self.clock.ahead + by)

    async def again(self, member: Member) -> Member:
        """Another one in place of one that was killed, on the same port."""
        if member.kind == "worker":
            return await self.worker()
        environ = self._environ({"PORT": str(member.port)})
        return Member(
            kind="api", pid=await self.up.start("payment_api", **environ), port=member.port
        )

    async def is_reached(self) -> bool:
        """Whether all that was to go wrong at the fake has begun to."""
        return not self.fake.faults

    async def check_charged_once(self, invoice_id: str) -> None:
        """Money moved once for the invoice, under the one attempt that says so."""
        attempts = await payments_of(self.context, invoice_id)
        of_invoice = {attempt.attempt_id.hex: attempt for attempt in attempts}
        charges = [c for c in self.fake.charges if c.reference.replace("-", "") in of_invoice]
        assert len(charges) == 1, f"{invoice_id} was charged {len(charges)} times"
        (succeeded,) = [attempt for attempt in attempts if attempt.state == "succeeded"]
        assert charges[0].reference.replace("-", "") == succeeded.attempt_id.hex
        assert charges[0].key == str(succeeded.idempotency_key)
        assert charges[0].payment_id == succeeded.provider_payment_id
        assert charges[0].amount == succeeded.amount_minor
        invoice = await invoice_of(self.context, invoice_id)
        assert (invoice.status, invoice.payment_status) == ("paid", "succeeded")
        actions = await actions_of(self.context, invoice_id)
        assert actions.count("invoice.paid") == 1
        assert "payment.surplus" not in actions

    def _environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        return {
            **ENVIRON,
            "API_MASTER_KEY": self.context.settings.api_master_key.reveal(),
            "PLUGINS": self.name,
            "PAYMENT_PROVIDER": self.name,
            "FAKES": msgspec.json.encode({FAKES[self.name][1]: self.fake.url}).decode(),
            "TIME": msgspec.json.encode(self.clock).decode(),
            **environ,
        }


@asynccontextmanager
async def scene(
    up: Fleet, databases: TestDatabases, name: str, *, speed: int = SPEED
) -> AsyncIterator[Scene]:
    """`up`: a fleet on these databases."""
    clock = FastClock(since=system_clock(), speed=speed)
    context = make_context(databases.live, clock, providers={})
    key = await new_key(context, "admin")
    now = _Time(clock)
    async with FAKES[name][0](now) as fake:
        it = Scene(name, up, fake, context, key, clock)
        now.scene = it
        yield it


class _Time:
    """The scene's clock, whichever that is by now."""

    def __init__(self, clock: FastClock) -> None:
        self._clock = clock
        self.scene: Scene | None = None

    def __call__(self) -> Any:
        return self._clock() if self.scene is None else self.scene.clock()

"""What tests of charging and mailing start from: a context, an invoice, a provider to ask."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import get_args
from uuid import UUID

import msgspec

from abaxus_core import app
from abaxus_core.domain.customers import Customer, PaymentMethod
from abaxus_core.domain.invoices import Draft, Invoice, Line
from abaxus_core.domain.parties import Seller
from abaxus_core.domain.payments import Payment, PaymentState
from abaxus_core.domain.pricing import TierShare
from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Database
from abaxus_core.kernel.ids import Ids
from abaxus_core.plugin.email import EmailSender
from abaxus_core.plugin.payments import (
    Capabilities,
    ChargeRequest,
    FrozenRequest,
    InvalidRequest,
    NotFound,
    Outcome,
    PaymentProvider,
)
from abaxus_core.repositories import customers, invoices, payments
from abaxus_core.services.plugins import Providers
from abaxus_core.services.work import Context
from abaxus_plugins.sandbox.provider import Sandbox
from tests.support.metering import shared_of

ACTOR = "key_test"
ENVIRON = {
    "DATABASE_URL": "postgresql://nowhere",
    "API_MASTER_KEY": "m" * 32,
    "EMAIL_FROM": "billing@seller.example",
    "SELLER_NAME": "Seller GmbH",
}
SELLER = Seller(name="Seller GmbH")


def make_context(
    database: Database,
    clock: Clock,
    *,
    providers: Mapping[str, PaymentProvider] | None = None,
    default: str | None = "sandbox",
    sender: EmailSender | None = None,
    **settings: str,
) -> Context:
    """A context as the composition root makes it; the sandbox charges unless told otherwise."""
    chosen = Providers(
        payment_providers={"sandbox": Sandbox()} if providers is None else providers,
        default_payment_provider=default,
        email_provider="outbox" if sender else None,
        email_sender=sender,
    )
    return app.context_of(shared_of({**ENVIRON, **settings}), database, chosen, clock)


async def make_invoice(
    database: Database,
    at: datetime,
    *,
    method: str | None = "pm_ok",
    provider: str | None = None,
    total_minor: int = 15775,
    currency: str = "usd",
    email: str | None = "payer@customer.example",
    customer_id: str = "acme",
) -> str:
    """The id of an issued invoice of a new customer."""
    ids = Ids(lambda: at)
    customer = Customer(
        customer_no=0,
        id=customer_id,
        name="Acme & Söhne",
        email=email,
        billing_provider=provider,
        payment_method=method
        and PaymentMethod(provider_customer_id="cus_1", provider_payment_method=method),
        created_at=at,
    )
    invoice_id = ids.new("inv")

    async def issue(conn):
        stored = await customers.insert(conn, customer)
        new = invoices.NewInvoice(
            id=invoice_id,
            customer_no=stored.customer_no,
            customer_id=customer_id,
            customer_sequence=1,
            currency=currency,
            cutoff=at,
            calculation_id=None,
            draft=_draft(total_minor, at, f"sub_{customer_id}"),
        )
        await invoices.insert_many(conn, [new], at, SELLER)
        await invoices.number_many(conn, [invoice_id])

    await database.transaction(issue)
    return invoice_id


def _draft(total_minor: int, at: datetime, subscription_id: str) -> Draft:
    start = at - timedelta(days=30)
    line = Line(
        kind="usage",
        description="API <calls>",
        exact_amount=Decimal(total_minor) / 100,
        amount_minor=total_minor,
        charge_id="chg_1",
        pricing_model="tiered",
        metric_key="calls",
        subscription_id=subscription_id,
        plan_id="growth",
        plan_version=1,
        period_start=start,
        period_end=at,
        segment_start=start,
        segment_end=at,
        window_end=at,
        revision=1,
        quantity=Decimal(1_374_923),
        owed_minor=total_minor,
        previously_billed_minor=0,
        tier_breakdown=(
            TierShare(
                tier=1,
                up_to=Decimal(100_000),
                quantity=Decimal(100_000),
                unit_price=Decimal(0),
                flat_amount=Decimal(0),
                amount=Decimal(0),
            ),
        ),
        event_count=1,
        digest=1,
        watermark=1,
    )
    return Draft(
        lines=(line,),
        total_minor=total_minor,
        credit_change_minor=0,
        period_start=start,
        period_end=at,
    )


async def invoice_of(context: Context, invoice_id: str) -> Invoice:
    async with context.database.connection() as conn:
        invoice = await invoices.get(conn, invoice_id)
    assert invoice is not None
    return invoice


async def payments_of(context: Context, invoice_id: str) -> list[Payment]:
    """The invoice's attempts, oldest first."""
    async with context.database.connection() as conn:
        newest_first = await payments.page_of_invoice(
            conn, invoice_id, get_args(PaymentState), before_id="~", rows_max=100
        )
    return newest_first[::-1]


async def actions_of(context: Context, invoice_id: str) -> list[str]:
    """What the audit log says happened to the invoice, in order."""
    async with context.database.connection() as conn:
        rows = await conn.fetch(
            "SELECT action FROM audit_log WHERE object_id = $1 ORDER BY audit_no", invoice_id
        )
    return [row["action"] for row in rows]


Answer = Callable[[FrozenRequest, bool], Awaitable[object]]


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A charge as the provider saw it."""

    key: str
    request: FrozenRequest
    replay: bool


class Remembering:
    """A provider with a memory: it keeps the answer to each key, as real ones do.

    `answer` decides what a charge does before its answer is kept; `lost` makes the answer get lost
    on the way back, so many times. `charged` is the money that moved: key → amount.
    """

    def __init__(
        self,
        *,
        ttl_s: int = 86_400,
        fetch: bool = True,
        find: bool = True,
        lost: int = 0,
        account: str = "acct_1",
        currencies: frozenset[str] | None = None,
    ) -> None:
        self.capabilities = Capabilities(
            idempotency_ttl_s=ttl_s, fetch=fetch, find=find, currencies=currencies
        )
        self.account = account
        self.lost = lost
        self.sent: list[Sent] = []
        self.charged: dict[str, Decimal] = {}
        self.attempts: dict[UUID, str] = {}
        self.finds = 0
        self.fetches = 0

    def prepare(self, request: ChargeRequest) -> FrozenRequest:
        if request.payment_method_ref == "pm_refused":
            raise InvalidRequest("amount_not_exact", "the amount does not fit")
        return FrozenRequest(
            method="POST",
            path="/charges",
            headers=(("Content-Type", "application/json"),),
            body=msgspec.json.encode(request),
        )

    async def charge(self, request: FrozenRequest, key: str, *, replay: bool) -> Outcome:
        self.sent.append(Sent(key=key, request=request, replay=replay))
        asked = msgspec.json.decode(request.body, type=ChargeRequest)
        self.charged[key] = asked.amount
        self.attempts[asked.attempt_id] = key
        await self.reply()
        if self.lost > 0:
            self.lost -= 1
            raise ConnectionResetError("the answer got lost")
        return self.outcome(asked)

    async def reply(self) -> None:
        """What happens between the charge and its answer."""

    def outcome(self, asked: ChargeRequest) -> Outcome:
        return Outcome(
            status="succeeded",
            provider_ref=f"ch_{asked.attempt_id.hex}",
            echoed_amount=asked.amount,
            echoed_currency=asked.currency,
        )

    async def fetch(self, provider_ref: str, request: FrozenRequest) -> Outcome:
        self.fetches += 1
        return self.outcome(msgspec.json.decode(request.body, type=ChargeRequest))

    async def find(
        self, attempt_id: UUID, request: FrozenRequest, *, sent_from: datetime, sent_until: datetime
    ) -> Outcome | NotFound:
        self.finds += 1
        if attempt_id not in self.attempts:
            return NotFound(conclusive=True)
        return self.outcome(msgspec.json.decode(request.body, type=ChargeRequest))

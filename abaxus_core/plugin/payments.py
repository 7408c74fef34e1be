"""What a payment provider's plugin implements, and the values that pass between it and the core.

The core decides when to charge, keeps the row that makes a charge happen once, and interprets
outcomes; the plugin speaks one provider's HTTP API and keeps nothing. A plugin never touches the
database, never retries by itself, never invents an idempotency key. Where it does not know whether
money moved, it says so: `unknown` is always a right answer, a guess never is.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol
from uuid import UUID

import httpx
import msgspec

CONTRACT: Final = 1
"""Of this module. A new optional field leaves it; a removal or a new duty raises it."""

Status = Literal[
    "succeeded", "pending", "requires_action", "declined", "rejected", "transient", "unknown"
]
Executed = Literal["yes", "no", "maybe"]
Retry = Literal["later", "customer_action", "new_instrument", "never", "fix_request"]

EXECUTED: Final[Mapping[Status, Executed]] = MappingProxyType(
    {
        "succeeded": "yes",
        "pending": "yes",
        "requires_action": "maybe",
        "declined": "yes",
        "rejected": "no",
        "transient": "no",
        "unknown": "maybe",
    }
)
"""Whether the provider acted on the request; of `declined`: it did, and no money moved."""


class InvalidRequest(Exception):
    """Raised by `prepare` for what the provider can never accept: nothing has been sent.

    `code` is stable and lower case (`currency_not_supported`, `amount_not_exact`); `message` is
    shown to the caller.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ChargeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """All that a provider may learn of an invoice; there is nothing else in it to leak.

    `amount` is exact, in major units (157.75); the plugin encodes it in its provider's own minor
    units and refuses what does not fit. `currency` is ISO 4217, upper case. The two references are
    the provider's own ids. `attempt_id` is random and stands for this attempt alone.
    """

    attempt_id: UUID
    amount: Decimal
    currency: str
    customer_ref: str
    payment_method_ref: str


class FrozenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it goes over the wire, but for what is secret: stored before it is sent.

    Every send of an attempt repeats these bytes, even after the plugin was upgraded in between.
    `path` is relative to the provider's base; credentials and the idempotency key are added when
    sending.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a charge, as far as the provider's answer proves it.

    succeeded        the money is taken; `echoed_amount` and `echoed_currency` say how much
    pending          accepted, the result comes later; the core asks again with `fetch`
    requires_action  the payer must authenticate
    declined         refused for good; `code` and `retry` say why and what would help
    rejected         request or credentials are wrong, nothing ran
    transient        proved never to have reached the provider's engine; only when `replay` is false
    unknown          may have happened: a timeout after sending, an answer that makes no sense

    `code` is the plugin's normalised word (`insufficient_funds`), `provider_code` the provider's
    own. `provider_ref` names the payment at the provider: required for `succeeded` and `pending`.
    `detail` is at most 500 characters and free of secrets and payer data.
    """

    status: Status
    provider_ref: str | None = None
    echoed_amount: Decimal | None = None
    echoed_currency: str | None = None
    code: str | None = None
    provider_code: str | None = None
    retry: Retry | None = None
    retry_after_s: int | None = None
    raw_status: str | None = None
    http_status: int | None = None
    provider_request_id: str | None = None
    replayed: bool | None = None
    detail: str | None = None

    @property
    def executed(self) -> Executed:
        return EXECUTED[self.status]


class NotFound(msgspec.Struct, frozen=True, kw_only=True):
    """`find` saw no trace of the attempt. `conclusive`: it can also never appear any more."""

    conclusive: bool


class RefundOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a refund; the words mean what they mean in `Outcome`, and `rejected` also that
    it was tried and failed: no money went back.
    """

    status: Literal["succeeded", "pending", "rejected", "transient", "unknown"]
    provider_ref: str | None = None
    code: str | None = None
    detail: str | None = None


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What the core may ask of a provider.

    `idempotency_ttl_s`: for how long after the first send a repeated key is sure to give the first
    answer instead of a second charge; 0 when never. `currencies`: None means any. `refund`,
    `cancel`, `validate` and `webhook`: that it is a RefundingProvider, CancellingProvider,
    ValidatingProvider, TellingProvider.
    """

    idempotency_ttl_s: int
    fetch: bool
    find: bool
    refund: bool = False
    cancel: bool = False
    validate: bool = False
    webhook: bool = False
    currencies: frozenset[str] | None = None


class PaymentProvider(Protocol):
    """One account at one provider, open for the life of the process. Since contract 1.

    Every method but `prepare` is called from the API or worker process, outside any transaction,
    under a deadline of the core's; being cancelled must be harmless. An exception out of `charge`,
    `fetch` or `find` counts as `unknown`.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def account(self) -> str:
        """A stable word for the account charged into, such as a hash of its public id.

        An attempt is never repeated under another account: its key means nothing there.
        """
        ...

    def prepare(self, request: ChargeRequest) -> FrozenRequest:
        """The request to send: pure, no I/O, the same bytes for the same argument.

        Raises InvalidRequest. Called inside the transaction that records the attempt.
        """
        ...

    async def charge(self, request: FrozenRequest, key: str, *, replay: bool) -> Outcome:
        """Send once, under idempotency key `key` (a random UUID).

        `replay` is true when an earlier send may have arrived. Then only the stored answer of that
        send is evidence: a refusal that the provider gives before looking the key up (rate limit,
        credentials, key in use) is `unknown`, never `transient` or `rejected`.
        """
        ...

    async def fetch(self, provider_ref: str, request: FrozenRequest) -> Outcome:
        """What the provider says of a payment now. Only with `capabilities.fetch`."""
        ...

    async def find(
        self, attempt_id: UUID, request: FrozenRequest, *, sent_from: datetime, sent_until: datetime
    ) -> Outcome | NotFound:
        """Look for an attempt whose answer was lost. Only with `capabilities.find`.

        The instants bound when it was sent, on our clock. `conclusive` needs a complete look, the
        key past its life, and a source that does not lag.
        """
        ...


class RefundRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`amount` and `currency` as in ChargeRequest; at most what is left of the payment."""

    refund_id: UUID
    provider_ref: str
    amount: Decimal
    currency: str


class RefundingProvider(PaymentProvider, Protocol):
    """What a provider with `capabilities.refund` also does. The core does not call it yet."""

    def prepare_refund(self, request: RefundRequest) -> FrozenRequest:
        """As `prepare`."""
        ...

    async def refund(self, request: FrozenRequest, key: str, *, replay: bool) -> RefundOutcome:
        """As `charge`."""
        ...

    async def fetch_refund(self, provider_ref: str, request: FrozenRequest) -> RefundOutcome:
        """As `fetch`; `unknown` where the provider tells it to webhooks and reports alone."""
        ...


class CancellingProvider(PaymentProvider, Protocol):
    """What a provider with `capabilities.cancel` also does: called in the worker, after a decline,
    where the payer would have to act, and for what stayed pending too long.
    """

    async def cancel(
        self, request: FrozenRequest, key: str, *, provider_ref: str | None
    ) -> Outcome:
        """End what an attempt left behind, so that nobody completes it later beside a new one.

        `provider_ref` is the payment's if it has been named, else the request says which; `key` is
        this cancellation's own. Returns what the payment now is: `declined` when it ended without
        money, `succeeded` when the cancellation came too late, `unknown` when the provider has only
        taken note.
        """
        ...


class ValidatingProvider(PaymentProvider, Protocol):
    """What a provider with `capabilities.validate` also does."""

    async def validate(self) -> Sequence[str]:
        """What is wrong with the credentials, a sentence each naming the setting; empty when the
        provider accepts them. Reads only, says nothing of anybody. For `abaxus plugins --check`.
        """
        ...


class ProviderEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider tells by itself of one attempt; `outcome` as far as the event proves it."""

    attempt_id: UUID
    outcome: Outcome


class WebhookRefused(Exception):
    """Raised by `parse_webhook`: it is not signed as it must be, or cannot be read."""


class TellingProvider(PaymentProvider, Protocol):
    """What a provider with `capabilities.webhook` also does; only where its settings have a secret
    for it.
    """

    def parse_webhook(
        self, headers: Mapping[str, str], body: bytes, *, now: datetime
    ) -> Sequence[ProviderEvent]:
        """What a request to `POST /v1/webhooks/{name}` tells, once its signature has been verified;
        empty when that is of no attempt. Pure, no I/O. Names of headers are in lower case.

        Raises WebhookRefused. The same event may come twice, late, and after a later one.
        """
        ...


class PaymentProviderDescriptor(msgspec.Struct, frozen=True, kw_only=True):
    """What `register_payment_providers` returns, one per provider.

    `name`      what customers' `billing.provider` and PAYMENT_PROVIDER call it: lower-case letters,
                digits and dashes; its settings are read from variables `NAME_…`
    `contract`  the CONTRACT the plugin was written for, as a number, not as this module's constant
    `settings`  a frozen msgspec Struct
    `hosts`     from the settings, every host it may contact: exact names, or `*.` and a suffix
    `open`      from the settings and an HTTP client that reaches only those hosts, the provider;
                entered once per process and mode, left at shutdown
    `fields`    all that its requests may say in body and query, by name: `amount.value`,
                `lines[].id`, `metadata[x]`; the conformance kit holds it to them
    `headers`   the headers of its requests, in lower case, beside those of every HTTP client
    """

    name: str
    contract: int
    settings: type[msgspec.Struct]
    hosts: Callable[[Any], frozenset[str]]
    open: Callable[[Any, httpx.AsyncClient], AbstractAsyncContextManager[PaymentProvider]]
    fields: frozenset[str] = frozenset()
    headers: frozenset[str] = frozenset()

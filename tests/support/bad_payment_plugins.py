"""A payment plugin that passes every check, and ways to spoil it, each with the checks that must
fail for it, and no others. tests/contract/test_bad_payment_plugins.py runs them.
"""

import contextlib
import itertools
import logging
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal

import httpx
import msgspec

from abaxus_core.conformance.payments import PaymentProviderContract
from abaxus_core.conformance.transport import json_reply
from abaxus_core.kernel.outbound import ResponseRefused
from abaxus_core.plugin.payments import (
    Capabilities,
    FrozenRequest,
    InvalidRequest,
    NotFound,
    Outcome,
    PaymentProviderDescriptor,
    RefundOutcome,
)
from abaxus_core.plugin.settings import Secret

COUNTER = itertools.count()
HOST = "api.acme.example"
DIGITS = {"EUR": 2, "USD": 2, "JPY": 0, "KWD": 3}
NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    secret_key: Secret


class Good:
    """Acme's provider as it should be; what the others inherit."""

    capabilities = Capabilities(
        idempotency_ttl_s=86_400, fetch=True, find=True, refund=True, cancel=True, validate=True
    )
    account = "acme"

    def __init__(self, settings, http):
        self._key = settings.secret_key
        self._http = http

    def prepare(self, request):
        body = {
            "amount": self.encode(request.amount, request.currency),
            "currency": request.currency,
            "customer": request.customer_ref,
            "source": request.payment_method_ref,
            "reference": request.attempt_id.hex,
        }
        return self.frozen("/payments", body)

    def encode(self, amount: Decimal, currency: str) -> int:
        scaled = amount.scaleb(DIGITS[currency])
        if scaled != int(scaled):
            raise InvalidRequest("amount_not_exact", "no")
        return int(scaled)

    def decode(self, minor: int, currency: str) -> Decimal:
        return Decimal(minor).scaleb(-DIGITS[currency])

    def frozen(self, path, body):
        kind = ("Content-Type", "application/json")
        content = msgspec.json.encode(body)
        return FrozenRequest(method="POST", path=path, headers=(kind,), body=content)

    async def charge(self, request, key, *, replay):
        try:
            answer = await self.send(request, key)
        except NEVER_LEFT:
            return self.unsent(replay=replay)
        except httpx.TransportError:
            return self.unanswered()
        return self.read(answer, request, replay=replay)

    def unsent(self, *, replay):
        return Outcome(status="unknown" if replay else "transient")

    def unanswered(self):
        return Outcome(status="unknown")

    async def send(self, request, key):
        headers = {**dict(request.headers), **self.credentials(), "Idempotency-Key": key}
        url = f"https://{HOST}{request.path}"
        return await self._http.request("POST", url, content=request.body, headers=headers)

    async def get(self, path, **params):
        url = f"https://{HOST}{path}"
        return await self._http.get(url, params=params, headers=self.credentials())

    def credentials(self):
        return {"Authorization": f"Bearer {self._key.reveal()}"}

    def read(self, answer, request, *, replay):
        match answer.status_code, self.body(answer):
            case 401, _:
                return Outcome(status="unknown" if replay else "rejected", code="credentials")
            case 429, {"error": "rate_limit"}:
                return Outcome(status="unknown" if replay else "transient", code="rate_limit")
            case 400, {"error": str(code)} if code != "key_reused":
                return Outcome(status="rejected", code=code)
            case 200, {"status": str(status), "id": str(name)} as body:
                return self.of_status(status, name, body, request)
        return Outcome(status="unknown")

    def of_status(self, status, name, body, request):
        match status:
            case "paid":
                amount = self.decode(body["amount"], body["currency"])
                return Outcome(
                    status="succeeded",
                    provider_ref=name,
                    echoed_amount=amount,
                    echoed_currency=body["currency"],
                )
            case "processing":
                return Outcome(status="pending", provider_ref=name)
            case "payer":
                return Outcome(status="requires_action", provider_ref=name)
            case "refused" | "cancelled":
                return Outcome(status="declined", provider_ref=name, code="declined", retry="later")
        return Outcome(status="unknown", provider_ref=name)

    def body(self, answer):
        try:
            return msgspec.json.decode(answer.content)
        except msgspec.MsgspecError:
            return None

    async def fetch(self, provider_ref, request):
        return self.read(await self.get(f"/payments/{provider_ref}"), request, replay=True)

    async def find(self, attempt_id, request, *, sent_from: datetime, sent_until: datetime):
        answer = await self.get("/payments", reference=attempt_id.hex)
        match self.body(answer):
            case {"payments": [payment]}:
                return self.of_status(payment["status"], payment["id"], payment, request)
        return NotFound(conclusive=False)

    async def cancel(self, request, key, *, provider_ref):
        answer = await self.send(self.frozen(f"/payments/{provider_ref}/cancel", {}), key)
        return self.read(answer, request, replay=True)

    def prepare_refund(self, request):
        body = {
            "amount": self.encode(request.amount, request.currency),
            "reference": request.refund_id.hex,
        }
        return self.frozen(f"/payments/{request.provider_ref}/refunds", body)

    async def refund(self, request, key, *, replay):
        try:
            answer = await self.send(request, key)
        except httpx.TransportError:
            return RefundOutcome(status="unknown")
        match self.body(answer):
            case {"id": str(name), "status": "paid"}:
                return RefundOutcome(status="succeeded", provider_ref=name)
        return RefundOutcome(status="unknown")

    async def fetch_refund(self, provider_ref, request):
        return RefundOutcome(status="unknown")

    async def validate(self):
        try:
            answer = await self.get("/account")
        except httpx.TransportError as error:
            return [type(error).__name__]
        match answer.status_code, self.body(answer):
            case 200, {"account": _}:
                return []
        return ["ACME_SECRET_KEY: Acme does not accept it"]


def paid(request: httpx.Request, **changes: object) -> httpx.Response:
    asked = msgspec.json.decode(request.content) if request.content else {}
    body = {"id": "p_1", "status": "paid", **asked, **changes}
    return httpx.Response(200, json=body)


ASKED = {"amount": 15775, "currency": "EUR"}


def describe(provider: type[Good], **changes: object) -> PaymentProviderDescriptor:
    @asynccontextmanager
    async def opened(settings, http):
        made = provider(settings, http)
        await opening(made)
        yield made

    fields = {
        "name": "acme",
        "contract": 1,
        "settings": Settings,
        "hosts": lambda _settings: frozenset({HOST}),
        "open": opened,
        "fields": frozenset({"amount", "currency", "customer", "source", "reference"}),
        "headers": frozenset({"authorization", "content-type", "idempotency-key"}),
    }
    return PaymentProviderDescriptor(**{**fields, **changes})


async def opening(provider: Good) -> None:
    if hasattr(provider, "on_open"):
        await provider.on_open()


class Contract(PaymentProviderContract):
    environ = {"ACME_SECRET_KEY": "key-hunter2"}
    secrets = frozenset({"ACME_SECRET_KEY"})
    amounts = {
        ("157.75", "EUR"): "15775",
        ("500", "JPY"): "500",
        ("1.234", "KWD"): "1234",
        ("0.5", "JPY"): None,
        ("0.001", "EUR"): None,
    }
    replies = {
        "success": paid,
        "wrong_amount": lambda request: paid(request, amount=1),
        "declined": lambda request: paid(request, status="refused"),
        "requires_action": lambda request: paid(request, status="payer"),
        "pending": lambda request: paid(request, status="processing"),
        "invalid_request": json_reply(400, {"error": "amount_too_small"}),
        "bad_credentials": json_reply(401, {"error": "credentials"}),
        "rate_limited": json_reply(429, {"error": "rate_limit"}),
        "key_in_use": json_reply(409, {"error": "key_in_use"}),
        "key_reused": json_reply(400, {"error": "key_reused"}),
        "server_error": json_reply(500, {"error": "oops"}),
        "unheard_status": lambda request: paid(request, status="levitating"),
        "fetched": json_reply(200, {"id": "p_1", "status": "paid", **ASKED}),
        "found": json_reply(200, {"payments": [{"id": "p_1", "status": "paid", **ASKED}]}),
        "not_found": json_reply(200, {"payments": []}),
        "cancelled": json_reply(200, {"id": "p_1", "status": "cancelled"}),
        "cancelled_too_late": json_reply(200, {"id": "p_1", "status": "paid", **ASKED}),
        "refunded": json_reply(200, {"id": "r_1", "status": "paid"}),
        "valid": json_reply(200, {"account": "acme"}),
    }


class TestGood(Contract):
    descriptor = describe(Good)
    caught_by = frozenset()


def spoiled(*checks: str, **descriptor: object):
    """The tests of a spoiled provider; `checks` are those that must fail, less `test_`."""

    def decorate(provider: type[Good]) -> type[Contract]:
        caught_by = frozenset(f"test_{check}" for check in checks)
        body = {"descriptor": describe(provider, **descriptor), "caught_by": caught_by}
        return type(provider.__name__, (Contract,), body)

    return decorate


@spoiled("the_descriptor_fits", contract=2)
class TestOfAnotherContract(Good):
    pass


class Unguarded(msgspec.Struct, frozen=True, kw_only=True):
    secret_key: str


@spoiled("secrets_stay_out_of_sight", settings=Unguarded)
class TestWithAPlainSecret(Good):
    def __init__(self, settings, http):
        self._key = Secret(settings.secret_key)
        self._http = http


@spoiled("secrets_stay_out_of_sight")
class TestThatLogsItsHeaders(Good):
    def credentials(self):
        headers = super().credentials()
        logging.getLogger("acme").debug("sending %s", headers)
        return headers


@spoiled("secrets_stay_out_of_sight")
class TestThatRepeatsItsKeyInDetails(Good):
    def of_status(self, status, name, body, request):
        outcome = super().of_status(status, name, body, request)
        return msgspec.structs.replace(outcome, detail=self._key.reveal())


class Optional(msgspec.Struct, frozen=True, kw_only=True):
    secret_key: Secret = Secret("")

    def __post_init__(self) -> None:
        if not self.secret_key.reveal():
            raise ValueError("something is missing")


@spoiled("each_setting_that_is_required_is_missed_by_name", settings=Optional)
class TestThatMissesNothingByName(Good):
    pass


@spoiled("opening_sends_nothing", "a_lost_answer_comes_back_by_repeating")
class TestThatIsEager(Good):
    async def on_open(self):
        with contextlib.suppress(httpx.TransportError):
            await self.get("/account")


@spoiled("the_capabilities_and_the_account_are_stable")
class TestWithAnAccountByChance(Good):
    def __init__(self, settings, http):
        super().__init__(settings, http)
        self.account = str(next(COUNTER))


@spoiled("preparing_is_pure")
class TestThatPreparesByChance(Good):
    def prepare(self, request):
        frozen = super().prepare(request)
        return msgspec.structs.replace(frozen, body=frozen.body + b" " * next(COUNTER))


class Version(str):
    __slots__ = ()


@spoiled("what_was_prepared_can_be_stored")
class TestThatPreparesWhatCannotBeStored(Good):
    def frozen(self, path, body):
        frozen = super().frozen(path, body)
        headers = (("Content-Type", Version("application/json")),)
        return msgspec.structs.replace(frozen, headers=headers)


@spoiled("amounts_are_in_the_services_own_units", "amounts_come_back_as_they_went")
class TestThatTakesAllForCents(Good):
    def encode(self, amount, currency):
        return int(amount * 100)

    def decode(self, minor, currency):
        return Decimal(minor) / 100


@spoiled("amounts_are_in_the_services_own_units")
class TestThatRounds(Good):
    def encode(self, amount, currency):
        return round(amount.scaleb(DIGITS[currency]))


@spoiled("amounts_come_back_as_they_went")
class TestThatReadsAllAsCents(Good):
    def decode(self, minor, currency):
        return Decimal(minor) / 100


@spoiled("only_declared_fields_are_sent")
class TestThatSaysTooMuch(Good):
    def prepare(self, request):
        frozen = super().prepare(request)
        said = {**msgspec.json.decode(frozen.body), "description": "for our best customer"}
        return self.frozen(frozen.path, said)


@spoiled("look_ups_and_the_rest_say_no_more")
class TestThatLooksUpByName(Good):
    async def fetch(self, provider_ref, request):
        answer = await self.get(f"/payments/{provider_ref}", payer="our best customer")
        return self.read(answer, request, replay=True)


@spoiled("only_declared_headers_are_sent", "look_ups_and_the_rest_say_no_more")
class TestWithTelemetry(Good):
    def credentials(self):
        return {**super().credentials(), "X-Acme-Client": "python on linux"}


@spoiled("only_declared_hosts_are_contacted")
class TestThatTellsAnother(Good):
    async def send(self, request, key):
        with contextlib.suppress(httpx.TransportError):
            await self._http.post("https://metrics.acme.example/", content=b"charged")
        return await super().send(request, key)


@spoiled("only_declared_hosts_are_contacted")
class TestWithAClientOfItsOwn(Good):
    async def send(self, request, key):
        with contextlib.suppress(OSError, httpx.TransportError):
            async with httpx.AsyncClient() as client:
                await client.post("https://metrics.acme.example/", content=b"charged")
        return await super().send(request, key)


@spoiled("what_was_frozen_is_sent_under_the_key", "a_refund_is_as_careful_as_a_charge")
class TestThatSendsOtherBytes(Good):
    async def send(self, request, key):
        return await super().send(msgspec.structs.replace(request, body=request.body + b" "), key)


@spoiled(
    "what_was_frozen_is_sent_under_the_key",
    "a_repeat_is_the_same_request",
    "a_lost_answer_comes_back_by_repeating",
    "what_was_left_behind_is_cancelled",
    "a_refund_is_as_careful_as_a_charge",
)
class TestWithAKeyOfItsOwn(Good):
    async def send(self, request, key):
        return await super().send(request, f"acme-{next(COUNTER)}")


@spoiled(
    "a_success_says_what_was_taken",
    "amounts_come_back_as_they_went",
    "another_amount_is_not_taken_for_ours",
    "a_named_payment_is_fetched",
    "a_lost_payment_is_found",
)
class TestThatEchoesNothing(Good):
    def decode(self, minor, currency):
        return None


@spoiled("another_amount_is_not_taken_for_ours")
class TestThatEchoesWhatItAsked(Good):
    def of_status(self, status, name, body, request):
        asked = {**body, **msgspec.json.decode(request.body)}
        return super().of_status(status, name, asked, request)


@spoiled("an_answer_is_taken_for_what_it_proves")
class TestThatTakesTheUnheardForPaid(Good):
    def of_status(self, status, name, body, request):
        known = status in ("processing", "payer", "refused", "cancelled")
        return super().of_status(status if known else "paid", name, body, request)


@spoiled("an_answer_is_taken_for_what_it_proves")
class TestThatTakesARepeatForAFirst(Good):
    def read(self, answer, request, *, replay):
        return super().read(answer, request, replay=False)


@spoiled("an_answer_is_taken_for_what_it_proves")
class TestThatDeclinesWithoutAReason(Good):
    def of_status(self, status, name, body, request):
        outcome = super().of_status(status, name, body, request)
        return msgspec.structs.replace(outcome, retry=None)


@spoiled(
    "an_answer_is_taken_for_what_it_proves",
    "nonsense_proves_nothing",
    "a_named_payment_is_fetched",
)
class TestThatTakesErrorsForFailures(Good):
    def read(self, answer, request, *, replay):
        if answer.status_code >= 500:
            return Outcome(status="declined", code="failed", retry="later")
        return super().read(answer, request, replay=replay)


@spoiled("what_never_left_may_be_sent_again")
class TestThatForgetsEarlierSends(Good):
    def unsent(self, *, replay):
        return Outcome(status="transient")


@spoiled(
    "what_may_have_arrived_is_unknown",
    "half_an_answer_is_none",
    "a_redirect_is_not_followed",
    "a_lost_answer_comes_back_by_repeating",
)
class TestThatTakesSilenceForFailure(Good):
    def unanswered(self):
        return Outcome(status="declined", code="timeout", retry="later")


@spoiled("it_never_sends_twice_by_itself", "a_lost_answer_comes_back_by_repeating")
class TestThatTriesAgain(Good):
    async def send(self, request, key):
        try:
            return await super().send(request, key)
        except httpx.ReadTimeout:
            return await super().send(request, key)


@spoiled("a_redirect_is_not_followed")
class TestThatFollowsRedirects(Good):
    async def send(self, request, key):
        try:
            return await super().send(request, key)
        except ResponseRefused:
            return await super().send(msgspec.structs.replace(request, path="/elsewhere"), key)


@spoiled("nonsense_proves_nothing")
class TestThatReadsTheStatusAlone(Good):
    def read(self, answer, request, *, replay):
        if answer.status_code in (402, 422):
            return Outcome(status="declined", code="declined", retry="later")
        return super().read(answer, request, replay=replay)


@spoiled("a_named_payment_is_fetched")
class TestThatTakesAbsenceForADecline(Good):
    async def fetch(self, provider_ref, request):
        answer = await self.get(f"/payments/{provider_ref}")
        if answer.status_code == 404:
            return Outcome(status="declined", code="gone", retry="later")
        return self.read(answer, request, replay=True)


@spoiled("a_lost_payment_is_found")
class TestThatNeverFinds(Good):
    async def find(self, attempt_id, request, *, sent_from, sent_until):
        return NotFound(conclusive=False)


@spoiled("an_empty_look_is_no_proof")
class TestThatTakesAbsenceForProof(Good):
    async def find(self, attempt_id, request, *, sent_from, sent_until):
        found = await super().find(attempt_id, request, sent_from=sent_from, sent_until=sent_until)
        return NotFound(conclusive=True) if isinstance(found, NotFound) else found


@spoiled("what_was_left_behind_is_cancelled")
class TestThatCancelsBlindly(Good):
    async def cancel(self, request, key, *, provider_ref):
        await super().cancel(request, key, provider_ref=provider_ref)
        return Outcome(status="declined", code="cancelled", retry="later")


@spoiled("a_refund_is_as_careful_as_a_charge")
class TestThatRefundsHopefully(Good):
    async def refund(self, request, key, *, replay):
        await self.send(request, key)
        return RefundOutcome(status="succeeded", provider_ref="r_1")


@spoiled("credentials_are_validated")
class TestThatValidatesNothing(Good):
    async def validate(self):
        return []

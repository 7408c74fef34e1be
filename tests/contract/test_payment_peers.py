"""Our payment plugins against doubles of Stripe and Adyen by others, which `make peers` fetches.

localstripe has no memory of keys, and does not know some of our parameters, which are taken out on
the way to it. prism answers as Adyen's own document says, and refuses what that does not allow.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

import httpx
import pytest
from msgspec.structs import replace

from abaxus_core.conformance.payment_bench import KEY, OTHER_KEY
from abaxus_core.conformance.payment_bench import REQUEST as ANY_REQUEST
from abaxus_core.kernel import outbound
from abaxus_core.plugin.payments import RefundRequest
from tests.support.ports import free_port
from tests.support.providers import SPECS, opened
from tests.support.servers import listens

ROOT = Path(__file__).parents[2]
PEERS = Path(os.environ.get("ABAXUS_TEST_PEERS", ROOT / ".peers"))
LOCALSTRIPE = PEERS / "bin" / "localstripe"
PRISM = PEERS / "node_modules" / ".bin" / "prism"
DOCUMENT = SPECS / "adyen-checkout-v72.openapi.json"
START_MAX_S = 60

needs_localstripe = pytest.mark.skipif(
    not LOCALSTRIPE.exists(), reason="LEFT OUT: no independent Stripe; make peers fetches one"
)
needs_prism = pytest.mark.skipif(
    not (PRISM.exists() and DOCUMENT.exists()),
    reason="LEFT OUT: no independent Adyen; make peers fetches one, for Adyen's document beside us",
)


@asynccontextmanager
async def running(*command: str | Path, port: int) -> AsyncIterator[str]:
    """The URL of a program, once it listens."""
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
    try:
        async with asyncio.timeout(START_MAX_S):
            while not await listens(port):
                assert process.returncode is None, "it does not start"
                await asyncio.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class WithoutTheUnknown(httpx.AsyncBaseTransport):
    """The way to localstripe."""

    def __init__(self, url: str) -> None:
        self._url = httpx.URL(url)
        self._inner = httpx.AsyncHTTPTransport(trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        fields = parse_qsl((await request.aread()).decode())
        unknown = ("automatic_payment_methods", "error_on_requires_action", "cancellation_reason")
        known = [(name, text) for name, text in fields if not name.startswith(unknown)]
        headers = {k: v for k, v in request.headers.items() if k != "content-length"}
        here = self._url
        response = await self._inner.handle_async_request(
            httpx.Request(
                request.method,
                request.url.copy_with(scheme="http", host=here.host, port=here.port),
                headers=headers,
                content=urlencode(known),
            )
        )
        response.headers.pop("content-encoding", None)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.fixture(scope="module")
async def localstripe():
    port = free_port()
    async with running(LOCALSTRIPE, "--from-scratch", "--port", str(port), port=port) as url:
        yield url


async def customer_and_card(url: str, number: str) -> tuple[str, str]:
    """A new customer's id and its card's."""
    card = {"number": number, "exp_month": "12", "exp_year": "2031", "cvc": "123"}
    form = {"type": "card", **{f"card[{name}]": text for name, text in card.items()}}
    async with httpx.AsyncClient(base_url=url, auth=("sk_test_51Local", "")) as client:
        customer = (await client.post("/v1/customers", data={"name": "x"})).json()["id"]
        method = (await client.post("/v1/payment_methods", data=form)).json()["id"]
        attach = f"/v1/payment_methods/{method}/attach"
        (await client.post(attach, data={"customer": customer})).raise_for_status()
    return customer, method


@asynccontextmanager
async def stripe_at(url: str):
    @asynccontextmanager
    async def http(hosts):
        async with outbound.open_client(hosts, network=WithoutTheUnknown(url)) as client:
            yield client

    async with opened(["stripe"], {"STRIPE_SECRET_KEY": "sk_test_51Local"}, http) as providers:
        yield providers["stripe"]


async def request_for(url: str, number: str):
    customer, card = await customer_and_card(url, number)
    return replace(ANY_REQUEST, customer_ref=customer, payment_method_ref=card)


@needs_localstripe
async def test_localstripe_takes_a_charge_names_it_and_refunds_it(localstripe):
    request = await request_for(localstripe, "4242424242424242")
    async with stripe_at(localstripe) as provider:
        assert list(await provider.validate()) == []
        frozen = provider.prepare(request)
        charged = await provider.charge(frozen, KEY, replay=False)
        assert (charged.status, charged.echoed_amount) == ("succeeded", Decimal("157.75"))
        assert charged.echoed_currency == "EUR"
        fetched = await provider.fetch(charged.provider_ref, frozen)
        assert (fetched.status, fetched.provider_ref) == ("succeeded", charged.provider_ref)

        refund = RefundRequest(
            refund_id=UUID(int=9),
            provider_ref=charged.provider_ref,
            amount=Decimal("57.75"),
            currency="EUR",
        )
        refunded = await provider.refund(provider.prepare_refund(refund), OTHER_KEY, replay=False)
        assert refunded.status in ("succeeded", "unknown")


@needs_localstripe
async def test_a_decline_that_localstripe_mislabels_is_not_believed(localstripe):
    """It says invalid_request_error where Stripe says card_error."""
    request = await request_for(localstripe, "4000000000000341")
    async with stripe_at(localstripe) as provider:
        declined = await provider.charge(provider.prepare(request), KEY, replay=False)
    assert (declined.status, declined.provider_code) == ("unknown", "card_declined")


@needs_localstripe
async def test_localstripe_asks_for_the_payer_and_the_leftover_is_cancelled(localstripe):
    request = await request_for(localstripe, "4000002500003155")
    async with stripe_at(localstripe) as provider:
        frozen = provider.prepare(request)
        asked = await provider.charge(frozen, KEY, replay=False)
        assert asked.status == "requires_action"
        ended = await provider.cancel(frozen, OTHER_KEY, provider_ref=asked.provider_ref)
    assert (ended.status, ended.code) == ("declined", "canceled")


@needs_localstripe
async def test_localstripe_knows_no_such_customer(localstripe):
    request = await request_for(localstripe, "4242424242424242")
    async with stripe_at(localstripe) as provider:
        frozen = provider.prepare(replace(request, customer_ref="cus_nobody"))
        assert (await provider.charge(frozen, KEY, replay=False)).status == "rejected"


ADYEN = {"ADYEN_API_KEY": "AQEfake-key", "ADYEN_MERCHANT_ACCOUNT": "AcmeECOM"}
METHOD = "8415718415172204"


class Unversioned(httpx.AsyncBaseTransport):
    """The way to prism, which serves paths without a version; `prefer` picks an example."""

    def __init__(self, url: str, prefer: str) -> None:
        self._url = httpx.URL(url)
        self._prefer = prefer
        self._inner = httpx.AsyncHTTPTransport(trust_env=False)
        self.violations: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url.copy_with(scheme="http", host=self._url.host, port=self._url.port)
        headers = {**dict(request.headers), "Prefer": self._prefer}
        response = await self._inner.handle_async_request(
            httpx.Request(
                request.method,
                url.copy_with(path=url.path.removeprefix("/v72")),
                headers=headers,
                stream=request.stream,
            )
        )
        self.violations += response.headers.get_list("sl-violations")
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.fixture(scope="module")
async def prism():
    port = free_port()
    async with running(PRISM, "mock", "-p", str(port), DOCUMENT, port=port) as url:
        yield url


@asynccontextmanager
async def adyen_at(url: str, prefer: str):
    network = Unversioned(url, prefer)

    @asynccontextmanager
    async def http(hosts):
        async with outbound.open_client(hosts, network=network) as client:
            yield client

    async with opened(["adyen"], ADYEN, http) as providers:
        yield providers["adyen"], network


@needs_prism
@pytest.mark.parametrize(
    ("prefer", "status"),
    [
        # Its references are examples, not ours: nothing is believed of them.
        ("example=card-direct", "unknown"),
        ("example=card-3d-secure-redirect", "requires_action"),
        ("code=422", "rejected"),
        ("code=401", "rejected"),
        ("code=500", "unknown"),
    ],
)
async def test_prism_takes_a_charge_and_its_answers_are_read(prism, prefer, status):
    async with adyen_at(prism, prefer) as (provider, network):
        frozen = provider.prepare(replace(ANY_REQUEST, payment_method_ref=METHOD))
        outcome = await provider.charge(frozen, KEY, replay=False)
    assert network.violations == []
    assert outcome.status == status


@needs_prism
async def test_prism_takes_refunds_cancellations_and_the_check_of_credentials(prism):
    async with adyen_at(prism, "code=201") as (provider, network):
        frozen = provider.prepare(replace(ANY_REQUEST, payment_method_ref=METHOD))
        for reference in ("NC6HT9CRT65ZGN82", None):
            ended = await provider.cancel(frozen, OTHER_KEY, provider_ref=reference)
            assert ended.code == "cancellation_received"
        refund = provider.prepare_refund(
            RefundRequest(
                refund_id=UUID(int=9),
                provider_ref="NC6HT9CRT65ZGN82",
                amount=Decimal("57.75"),
                currency="EUR",
            )
        )
        # It gives an example's reference back.
        assert (await provider.refund(refund, OTHER_KEY, replay=False)).status == "unknown"
    assert network.violations == []
    async with adyen_at(prism, "code=200") as (provider, network):
        assert list(await provider.validate()) == []
    assert network.violations == []


@needs_prism
async def test_prism_would_have_seen_a_field_too_many(prism):
    async with adyen_at(prism, "code=200") as (provider, network):
        frozen = provider.prepare(replace(ANY_REQUEST, payment_method_ref=METHOD))
        spoiled = replace(frozen, body=frozen.body.replace(b'"returnUrl"', b'"return_url"'))
        await httpx_post(network, spoiled)
    assert any("returnUrl" in one for one in network.violations)


async def httpx_post(network, request):
    async with httpx.AsyncClient(transport=network) as client:
        url = f"https://checkout-test.adyen.com{request.path}"
        headers = {**dict(request.headers), "X-API-Key": "k"}
        await client.post(url, content=request.body, headers=headers)

"""What every payment provider is held to. An author subclasses, says how the service answers, runs
pytest:

    class TestAcme(PaymentProviderContract):
        descriptor = acme_pay.register_payment_providers()[0]
        environ = {"ACME_ACCOUNT": "ours", "ACME_SECRET_KEY": "key-of-the-tests"}
        secrets = frozenset({"ACME_SECRET_KEY"})
        amount_field = "amount"
        amounts = {("157.75", "USD"): "15775", ("500", "JPY"): "500", ("0.001", "USD"): None}
        replies = {"success": acme_takes_it, "declined": json_reply(402, {…}), …}

A reply is a function from the request to the answer that the real service gives; `success` echoes
the amount that it was asked for. Needs pytest-asyncio in its mode `auto`. docs/plugins.md says what
each status means and lists the checks.
"""

import logging
import re
from decimal import Decimal
from typing import Final

import httpx
import msgspec
import pytest
from msgspec.structs import replace

from abaxus_core.conformance import transport
from abaxus_core.conformance.payment_bench import ALLOWED, KEY, Situation
from abaxus_core.conformance.payment_capabilities import CapabilityChecks
from abaxus_core.conformance.payment_subject import NONSENSE_STATUSES
from abaxus_core.conformance.transport import Remembering
from abaxus_core.kernel import environment, outbound, plugin_manager
from abaxus_core.plugin import payments
from abaxus_core.plugin.payments import Capabilities, FrozenRequest, InvalidRequest

NONSENSE: Final = (b"", b"<h1>Bad gateway</h1>", b"{}", b"[]", b"null", b'{"status": 7}', b"\xff{")
"""Bodies that are no answer of any service, under any of NONSENSE_STATUSES."""
NEVER_LEFT: Final = (httpx.ConnectError, httpx.ConnectTimeout)
MAY_HAVE_ARRIVED: Final = (
    httpx.ReadTimeout,
    httpx.WriteTimeout,
    httpx.ReadError,
    httpx.WriteError,
    httpx.RemoteProtocolError,
)

repeated = pytest.mark.parametrize("replay", [False, True], ids=["first", "repeated"])


class PaymentProviderContract(CapabilityChecks):
    """Subclass it; the class variables (payment_subject.py) are yours."""

    def test_the_descriptor_fits(self) -> None:
        assert self.descriptor.contract == payments.CONTRACT
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,63}", self.descriptor.name)
        assert [host for host in self._hosts() if not outbound.is_host_pattern(host)] == []

    def test_each_setting_that_is_required_is_missed_by_name(self) -> None:
        prefix = plugin_manager.settings_prefix(self.descriptor.name)
        fields = msgspec.structs.fields(self.descriptor.settings)
        required = [prefix + one.name.upper() for one in fields if one.required]
        _, faults = environment.read({}, self.descriptor.settings, prefix=prefix)
        assert faults == [f"{name} is not set" for name in required]

    async def test_opening_sends_nothing(self) -> None:
        async with self.opened() as bench:
            assert (bench.at_opening, bench.elsewhere) == ([], [])

    async def test_the_capabilities_and_the_account_are_stable(self) -> None:
        async with self.opened() as one, self.opened() as other:
            can = one.provider.capabilities
            msgspec.json.decode(msgspec.json.encode(can), type=Capabilities)
            assert can == other.provider.capabilities
            assert can.idempotency_ttl_s >= 0
            assert one.provider.account == other.provider.account != ""

    async def test_preparing_is_pure(self) -> None:
        async with self.opened() as one, self.opened() as other:
            frozen = one.provider.prepare(self.request)
            assert frozen == one.provider.prepare(self.request)
            assert frozen == other.provider.prepare(self.request)
            assert one.stage.sent == []

    async def test_what_was_prepared_can_be_stored(self) -> None:
        async with self.opened() as bench:
            frozen = bench.provider.prepare(self.request)
            stored = msgspec.json.encode(frozen)
            assert msgspec.json.decode(stored, type=FrozenRequest) == frozen

    async def test_amounts_are_in_the_services_own_units(self) -> None:
        self._needs_network()
        assert self.amounts, "`amounts` is empty"
        async with self.opened() as bench:
            for (amount, currency), wanted in self.amounts.items():
                request = replace(self.request, amount=Decimal(amount), currency=currency)
                if wanted is None:
                    with pytest.raises(InvalidRequest):
                        bench.provider.prepare(request)
                else:
                    frozen = bench.provider.prepare(request)
                    assert _fields_of(frozen)[self.amount_field] == wanted, (amount, currency)

    async def test_amounts_come_back_as_they_went(self) -> None:
        self._needs_network()
        async with self.opened(self._reply("success")) as bench:
            for (amount, currency), wanted in self.amounts.items():
                if wanted is not None:
                    request = replace(self.request, amount=Decimal(amount), currency=currency)
                    outcome = await bench.charge(bench.provider.prepare(request))
                    echoed = (outcome.echoed_amount, (outcome.echoed_currency or "").upper())
                    assert echoed == (Decimal(amount), currency)

    async def test_only_declared_fields_are_sent(self) -> None:
        self._needs_network()
        async with self.opened(self._reply("success")) as bench:
            await bench.charge(bench.provider.prepare(self.request))
            self._says_what_is_declared(bench.last)

    async def test_only_declared_headers_are_sent(self) -> None:
        self._needs_network()
        async with self.opened(self._reply("success")) as bench:
            await bench.charge(bench.provider.prepare(self.request))
            self._names_what_is_declared(bench.last)

    async def test_only_declared_hosts_are_contacted(self) -> None:
        async with self.opened(self._reply("success")) as bench:
            await bench.charge(bench.provider.prepare(self.request))
            hosts = self._hosts()
            strangers = [host for host in bench.asked if not outbound.host_allowed(host, hosts)]
            assert (strangers, bench.elsewhere) == ([], [])

    async def test_what_was_frozen_is_sent_under_the_key(self) -> None:
        self._needs_network()
        async with self.opened(self._reply("success")) as bench:
            frozen = bench.provider.prepare(self.request)
            await bench.charge(frozen)
            sent = bench.last
            assert (sent.method, sent.body) == (frozen.method, frozen.body)
            assert sent.url.endswith(frozen.path)
            headers = {name.lower(): value for name, value in frozen.headers}
            assert headers.items() <= sent.headers.items()
            if bench.provider.capabilities.idempotency_ttl_s:
                assert KEY in sent.headers.values()

    async def test_a_repeat_is_the_same_request(self) -> None:
        self._needs_network()
        async with self.opened(self._reply("success")) as bench:
            frozen = bench.provider.prepare(self.request)
            await bench.charge(frozen)
            await bench.charge(frozen, replay=True)
            first, again = bench.stage.sent
            assert first == again

    async def test_a_success_says_what_was_taken(self) -> None:
        async with self.opened(self._reply("success")) as bench:
            request = self._request("success")
            outcome = await bench.charge(bench.provider.prepare(request))
        assert (outcome.status, outcome.echoed_amount) == ("succeeded", self.request.amount)
        assert (outcome.echoed_currency or "").upper() == self.request.currency

    @repeated
    async def test_another_amount_is_not_taken_for_ours(self, *, replay: bool) -> None:
        self._needs_network()
        async with self.opened(self._reply("wrong_amount")) as bench:
            outcome = await bench.charge(bench.provider.prepare(self.request), replay=replay)
        if outcome.status == "succeeded":
            assert outcome.echoed_amount is not None
            assert outcome.echoed_amount != self.request.amount
        else:
            assert outcome.status == "unknown"

    @repeated
    @pytest.mark.parametrize("situation", ALLOWED)
    async def test_an_answer_is_taken_for_what_it_proves(
        self, situation: Situation, *, replay: bool
    ) -> None:
        async with self.opened(self._reply(situation)) as bench:
            request = self._request(situation)
            frozen = bench.provider.prepare(request)
            outcome = await bench.charge(frozen, replay=replay)
        assert outcome.status in ALLOWED[situation][replay]
        if outcome.status == "declined":
            assert outcome.code, "a decline says why"
            assert outcome.retry, "a decline says what would help"

    @repeated
    @pytest.mark.parametrize("error", NEVER_LEFT)
    async def test_what_never_left_may_be_sent_again(
        self, error: type[httpx.TransportError], *, replay: bool
    ) -> None:
        self._needs_network()
        async with self.opened(transport.failing(error)) as bench:
            outcome = await bench.charge(bench.provider.prepare(self.request), replay=replay)
        assert outcome.status in ({"unknown"} if replay else {"transient", "unknown"})

    @repeated
    @pytest.mark.parametrize("error", MAY_HAVE_ARRIVED)
    async def test_what_may_have_arrived_is_unknown(
        self, error: type[httpx.TransportError], *, replay: bool
    ) -> None:
        self._needs_network()
        async with self.opened(transport.failing(error)) as bench:
            outcome = await bench.charge(bench.provider.prepare(self.request), replay=replay)
        assert outcome.status == "unknown"

    @repeated
    async def test_half_an_answer_is_none(self, *, replay: bool) -> None:
        self._needs_network()
        async with self.opened(transport.halved(self._reply("success"))) as bench:
            outcome = await bench.charge(bench.provider.prepare(self.request), replay=replay)
        assert outcome.status == "unknown"

    @repeated
    @pytest.mark.parametrize("status", NONSENSE_STATUSES)
    async def test_nonsense_proves_nothing(self, status: int, *, replay: bool) -> None:
        self._needs_network()
        async with self.opened() as bench:
            frozen = bench.provider.prepare(self.request)
            for content in NONSENSE:
                reply = transport.nonsense(status, content)
                outcome = await bench.charge(frozen, replay=replay, reply=reply)
                assert outcome.status == "unknown", content

    async def test_a_redirect_is_not_followed(self) -> None:
        self._needs_network()
        async with self.opened(transport.redirect) as bench:
            outcome = await bench.charge(bench.provider.prepare(self.request))
            assert (outcome.status, len(bench.stage.sent)) == ("unknown", 1)

    async def test_it_never_sends_twice_by_itself(self) -> None:
        self._needs_network()
        replies = [
            self._reply("server_error"),
            *(transport.failing(error) for error in (*NEVER_LEFT, *MAY_HAVE_ARRIVED)),
        ]
        async with self.opened() as bench:
            frozen = bench.provider.prepare(self.request)
            for reply in replies:
                bench.stage.sent.clear()
                await bench.charge(frozen, reply=reply)
                assert len(bench.stage.sent) == 1

    async def test_a_lost_answer_comes_back_by_repeating(self) -> None:
        self._needs_network()
        service = Remembering(self._reply("success"), KEY)
        async with self.opened(service) as bench:
            if not bench.provider.capabilities.idempotency_ttl_s:
                pytest.skip("it knows no keys")
            frozen = bench.provider.prepare(self.request)
            assert (await bench.charge(frozen)).status == "unknown"
            assert (await bench.charge(frozen, replay=True)).status == "succeeded"
        assert service.acted == 1, "it was charged twice"

    async def test_secrets_stay_out_of_sight(
        self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        caplog.set_level(logging.DEBUG)
        async with self.opened() as bench:
            frozen = bench.provider.prepare(self.request)
            shown = [
                repr(bench.settings),
                repr(bench.provider),
                repr(getattr(bench.provider, "__dict__", {})),
            ]
            shown += [bench.provider.account, repr(frozen), frozen.body.decode()]
            for reply in (*self.replies.values(), *self._failures()):
                shown.append(repr(await bench.charge(frozen, reply=reply)))
            shown += [f"{sent.url}\n{sent.body.decode()}" for sent in bench.stage.sent]
        seen = "\n".join([*shown, caplog.text, *capfd.readouterr()])
        assert [name for name in self.secrets if self.environ[name] in seen] == []


def _fields_of(frozen: FrozenRequest) -> dict[str, str]:
    headers = {name.lower(): value for name, value in frozen.headers}
    return transport.fields_of(headers.get("content-type", ""), frozen.body)

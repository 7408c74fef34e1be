"""What a payment provider is held to where it can look up, cancel, refund or validate; where it
cannot, the check is skipped by name.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

import httpx
import pytest

from abaxus_core.conformance import transport
from abaxus_core.conformance.payment_bench import OTHER_KEY, Bench
from abaxus_core.conformance.payment_subject import NONSENSE_STATUSES, Subject
from abaxus_core.conformance.transport import Sent
from abaxus_core.plugin.payments import (
    CancellingProvider,
    NotFound,
    RefundingProvider,
    RefundRequest,
    ValidatingProvider,
)

SENT_AT: Final = datetime(2026, 5, 10, 12, tzinfo=UTC)


class CapabilityChecks(Subject):
    """Each check is for one of the provider's `capabilities`."""

    async def test_a_named_payment_is_fetched(self) -> None:
        async with self.opened(self._reply("success")) as bench:
            self._needs(bench.provider.capabilities.fetch, "fetch")
            request = self._request("success")
            frozen = bench.provider.prepare(request)
            charged = await bench.charge(frozen)
            assert charged.provider_ref is not None
            fetched = await bench.fetch(charged.provider_ref, frozen, self._reply("fetched"))
            assert fetched.status == "succeeded"
            assert fetched.provider_ref == charged.provider_ref
            assert fetched.echoed_amount == self.request.amount
            for reply in self._failures():
                seen = await bench.fetch(charged.provider_ref, frozen, reply)
                assert seen.status == "unknown"

    async def test_a_lost_payment_is_found(self) -> None:
        async with self.opened() as bench:
            self._needs(bench.provider.capabilities.find, "find")
            request = self._request("success")
            frozen = bench.provider.prepare(request)
            found = await bench.find(frozen, request.attempt_id, SENT_AT, self._reply("found"))
            assert not isinstance(found, NotFound), "not found"
            assert (found.status, found.echoed_amount) == ("succeeded", self.request.amount)

    async def test_an_empty_look_is_no_proof(self) -> None:
        """While the key is alive, and whenever the look itself fails."""
        self._needs_network()
        async with self.opened() as bench:
            self._needs(bench.provider.capabilities.find, "find")
            frozen = bench.provider.prepare(self.request)
            for reply in (self._reply("not_found"), *self._failures()):
                seen = await bench.find(frozen, self.request.attempt_id, SENT_AT, reply)
                if isinstance(seen, NotFound):
                    assert seen.conclusive is False
                else:
                    assert seen.status == "unknown"

    async def test_what_was_left_behind_is_cancelled(self) -> None:
        async with self.opened() as bench:
            self._needs(bench.provider.capabilities.cancel, "cancel")
            provider = cast("CancellingProvider", bench.provider)
            frozen = provider.prepare(self.request)
            reference = await self._reference(bench, frozen)
            bench.stage.reply = self._reply("cancelled")
            ended = await provider.cancel(frozen, OTHER_KEY, provider_ref=reference)
            assert ended.status in ("declined", "unknown")
            assert OTHER_KEY in bench.last.headers.values()
            if "cancelled_too_late" in self.replies:
                bench.stage.reply = self._reply("cancelled_too_late")
                late = await provider.cancel(frozen, OTHER_KEY, provider_ref=reference)
                assert late.status == "succeeded"

    async def test_a_refund_is_as_careful_as_a_charge(self) -> None:
        async with self.opened() as bench:
            self._needs(bench.provider.capabilities.refund, "refund")
            provider = cast("RefundingProvider", bench.provider)
            charged = provider.prepare(self.request)
            frozen = provider.prepare_refund(self._refund(await self._reference(bench, charged)))
            bench.stage.reply = self._reply("refunded")
            refunded = await provider.refund(frozen, OTHER_KEY, replay=False)
            assert refunded.status in ("succeeded", "pending")
            assert refunded.provider_ref
            assert bench.last.body == frozen.body
            assert OTHER_KEY in bench.last.headers.values()
            bench.stage.reply = transport.failing(httpx.ReadTimeout)
            assert (await provider.refund(frozen, OTHER_KEY, replay=False)).status == "unknown"
            for status in NONSENSE_STATUSES:
                bench.stage.reply = transport.nonsense(status, b"{}")
                assert (await provider.refund(frozen, OTHER_KEY, replay=True)).status == "unknown"

    async def test_credentials_are_validated(self) -> None:
        async with self.opened() as bench:
            self._needs(bench.provider.capabilities.validate, "validate")
            provider = cast("ValidatingProvider", bench.provider)
            bench.stage.reply = self._reply("valid")
            assert list(await provider.validate()) == []
            for reply in (self._reply("bad_credentials"), *self._failures()):
                bench.stage.reply = reply
                assert list(await provider.validate()) != []

    async def test_look_ups_and_the_rest_say_no_more(self) -> None:
        """What the other calls say, of those that the provider is capable of."""
        self._needs_network()
        async with self.opened() as bench:
            for sent in await self._every_other_call(bench):
                self._says_what_is_declared(sent)
                self._names_what_is_declared(sent)

    async def _every_other_call(self, bench: Bench) -> list[Sent]:
        provider, can = cast("Any", bench.provider), bench.provider.capabilities
        frozen = provider.prepare(self.request)
        reference = await self._reference(bench, frozen)
        bench.stage.sent.clear()
        if can.fetch:
            await bench.fetch(reference, frozen, self._reply("fetched"))
        if can.find:
            reply = self._reply("not_found")
            await bench.find(frozen, self.request.attempt_id, SENT_AT, reply)
        if can.cancel:
            bench.stage.reply = self._reply("cancelled")
            for named in (reference, None):
                await provider.cancel(frozen, OTHER_KEY, provider_ref=named)
        if can.refund:
            bench.stage.reply = self._reply("refunded")
            back = provider.prepare_refund(self._refund(reference))
            await provider.refund(back, OTHER_KEY, replay=False)
        if can.validate:
            bench.stage.reply = self._reply("valid")
            await provider.validate()
        return bench.stage.sent

    def _refund(self, reference: str) -> RefundRequest:
        return RefundRequest(
            refund_id=UUID(int=9),
            provider_ref=reference,
            amount=Decimal("57.75"),
            currency=self.request.currency,
        )

    def _needs(self, able: bool, what: str) -> None:
        if not able:
            pytest.skip(f"{self.descriptor.name} has not the capability {what}")

"""What the tests of a payment provider are about: what its author supplies, put on the bench."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import ClassVar, Final

import httpx
import msgspec
import pytest
from msgspec.structs import replace

from abaxus_core.conformance import transport
from abaxus_core.conformance.payment_bench import (
    ALLOWED,
    REQUEST,
    REQUIRED,
    Bench,
    LookUp,
    Situation,
)
from abaxus_core.conformance.sockets import contained
from abaxus_core.conformance.transport import Reply, Sent, Stage
from abaxus_core.kernel import environment, outbound, plugin_manager
from abaxus_core.plugin.payments import ChargeRequest, FrozenRequest, PaymentProviderDescriptor

NONSENSE_STATUSES: Final = (200, 201, 400, 402, 404, 409, 422, 500, 502, 503)
NOTHING: Final = transport.nonsense(500, b"")


class Subject:
    """The class variables are the author's."""

    descriptor: ClassVar[PaymentProviderDescriptor]
    environ: ClassVar[Mapping[str, str]]
    """Settings that are good, as an operator writes them."""
    secrets: ClassVar[frozenset[str]]
    """Those of `environ` whose values must never be seen."""
    amount_field: ClassVar[str] = "amount"
    amounts: ClassVar[Mapping[tuple[str, str], str | None]] = MappingProxyType({})
    """Amount and currency, and what is sent for them; None: cannot be sent."""
    replies: ClassVar[Mapping[Situation | LookUp, Reply]] = MappingProxyType({})
    methods: ClassVar[Mapping[Situation, str]] = MappingProxyType({})
    """Payment methods that bring a situation about, where replies do not."""
    request: ClassVar[ChargeRequest] = REQUEST

    @asynccontextmanager
    async def opened(self, reply: Reply = NOTHING) -> AsyncIterator[Bench]:
        """The provider over a stage; nothing else can be reached meanwhile."""
        settings = self._settings()
        stage = Stage(reply)
        asked: list[str] = []

        async def note(request: httpx.Request) -> None:
            asked.append(request.url.host)

        with contained() as elsewhere:
            async with outbound.open_client(self._hosts(), network=stage) as http:
                http.event_hooks = {"request": [note]}
                async with self.descriptor.open(settings, http) as provider:
                    bench = Bench(provider, settings, stage, elsewhere, asked)
                    bench.at_opening, stage.sent = stage.sent, []
                    yield bench

    def _settings(self) -> msgspec.Struct:
        prefix = plugin_manager.settings_prefix(self.descriptor.name)
        settings, faults = environment.read(self.environ, self.descriptor.settings, prefix=prefix)
        assert settings is not None, faults
        return settings

    def _hosts(self) -> frozenset[str]:
        return self.descriptor.hosts(self._settings())

    def _request(self, situation: Situation) -> ChargeRequest:
        method = self.methods.get(situation, self.request.payment_method_ref)
        return replace(self.request, payment_method_ref=method)

    def _reply(self, situation: Situation | LookUp) -> Reply:
        """How the service answers; skips where it never does so."""
        if situation in self.replies:
            return self.replies[situation]
        if not self._hosts():
            if situation in ALLOWED and situation not in self.methods:
                pytest.skip(f"{self.descriptor.name} has no method that brings {situation} about")
            return NOTHING
        if situation not in REQUIRED and situation in ALLOWED:
            pytest.skip(f"{self.descriptor.name} never answers {situation}")
        pytest.fail(f"`replies` does not say how {self.descriptor.name} answers {situation}")

    def _needs_network(self) -> None:
        if not self._hosts():
            pytest.skip(f"{self.descriptor.name} contacts nobody")

    def _failures(self) -> list[Reply]:
        """Answers to a look-up that are no news; none where nobody is asked."""
        if not self._hosts():
            return []
        return [
            self._reply("server_error"),
            transport.nonsense(200, b"[]"),
            transport.nonsense(404, b"{}"),
            transport.failing(httpx.ConnectError),
            transport.failing(httpx.ReadTimeout),
        ]

    def _says_what_is_declared(self, sent: Sent) -> None:
        assert set(sent.fields()) - self.descriptor.fields == set(), "not in `fields`"

    def _names_what_is_declared(self, sent: Sent) -> None:
        named = set(sent.headers) - transport.USUAL_HEADERS
        assert named - self.descriptor.headers == set(), "not in `headers`"

    async def _reference(self, bench: Bench, frozen: FrozenRequest) -> str:
        charged = await bench.charge(frozen, reply=self._reply("success"))
        assert charged.provider_ref is not None
        return charged.provider_ref

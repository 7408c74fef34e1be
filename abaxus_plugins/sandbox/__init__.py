"""A payment provider that moves no money and contacts nobody: demos, tests, test mode."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import msgspec

from abaxus_core.plugin.hookspecs import hookimpl
from abaxus_core.plugin.payments import PaymentProvider, PaymentProviderDescriptor
from abaxus_plugins.sandbox.provider import Sandbox


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """None."""


def hosts(_settings: Settings) -> frozenset[str]:
    return frozenset()


@asynccontextmanager
async def open_sandbox(
    _settings: Settings, _http: httpx.AsyncClient
) -> AsyncIterator[PaymentProvider]:
    yield Sandbox()


@hookimpl
def register_payment_providers() -> list[PaymentProviderDescriptor]:
    return [
        PaymentProviderDescriptor(
            name="sandbox", contract=1, settings=Settings, hosts=hosts, open=open_sandbox
        )
    ]

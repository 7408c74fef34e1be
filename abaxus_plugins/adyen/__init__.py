"""Adyen for ABAXUS: stored payment methods charged through Checkout, without the payer present."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from abaxus_core.plugin.hookspecs import hookimpl
from abaxus_core.plugin.payments import PaymentProvider, PaymentProviderDescriptor
from abaxus_plugins.adyen.provider import Adyen
from abaxus_plugins.adyen.settings import Settings
from abaxus_plugins.adyen.wire import FIELDS, HEADERS


def hosts(settings: Settings) -> frozenset[str]:
    return frozenset({settings.host})


@asynccontextmanager
async def open_adyen(settings: Settings, http: httpx.AsyncClient) -> AsyncIterator[PaymentProvider]:
    yield Adyen(settings, http)


@hookimpl
def register_payment_providers() -> list[PaymentProviderDescriptor]:
    return [
        PaymentProviderDescriptor(
            name="adyen",
            contract=1,
            settings=Settings,
            hosts=hosts,
            open=open_adyen,
            fields=FIELDS,
            headers=HEADERS,
        )
    ]

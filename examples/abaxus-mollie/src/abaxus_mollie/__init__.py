"""Mollie for ABAXUS: mandates charged as recurring payments, without the payer present."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from abaxus_core.plugin.hookspecs import hookimpl
from abaxus_core.plugin.payments import PaymentProvider, PaymentProviderDescriptor
from abaxus_mollie.provider import HOST, Mollie
from abaxus_mollie.settings import Settings
from abaxus_mollie.wire import FIELDS, HEADERS


def hosts(_settings: Settings) -> frozenset[str]:
    return frozenset({HOST})


@asynccontextmanager
async def open_mollie(
    settings: Settings, http: httpx.AsyncClient
) -> AsyncIterator[PaymentProvider]:
    yield Mollie(settings, http)


@hookimpl
def register_payment_providers() -> list[PaymentProviderDescriptor]:
    return [
        PaymentProviderDescriptor(
            name="mollie",
            contract=1,
            settings=Settings,
            hosts=hosts,
            open=open_mollie,
            fields=FIELDS,
            headers=HEADERS,
        )
    ]

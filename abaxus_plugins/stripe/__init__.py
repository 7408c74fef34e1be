"""Stripe for ABAXUS: stored cards charged as PaymentIntents, without the payer present."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from abaxus_core.plugin.hookspecs import hookimpl
from abaxus_core.plugin.payments import PaymentProvider, PaymentProviderDescriptor
from abaxus_plugins.stripe.provider import HOST, Stripe
from abaxus_plugins.stripe.settings import Settings
from abaxus_plugins.stripe.wire import FIELDS, HEADERS


def hosts(_settings: Settings) -> frozenset[str]:
    return frozenset({HOST})


@asynccontextmanager
async def open_stripe(
    settings: Settings, http: httpx.AsyncClient
) -> AsyncIterator[PaymentProvider]:
    yield Stripe(settings, http)


@hookimpl
def register_payment_providers() -> list[PaymentProviderDescriptor]:
    return [
        PaymentProviderDescriptor(
            name="stripe",
            contract=1,
            settings=Settings,
            hosts=hosts,
            open=open_stripe,
            fields=FIELDS,
            headers=HEADERS,
        )
    ]

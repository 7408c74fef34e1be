"""An email sender by Amazon SES, API version 2, which takes the mail as MIME."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from abaxus_core.plugin.clock import system_clock
from abaxus_core.plugin.email import EmailSender, EmailSenderDescriptor
from abaxus_core.plugin.hookspecs import hookimpl
from abaxus_plugins.ses.sender import Ses
from abaxus_plugins.ses.settings import Settings, host
from abaxus_plugins.ses.wire import FIELDS, HEADERS


def hosts(settings: Settings) -> frozenset[str]:
    return frozenset({host(settings.region)})


@asynccontextmanager
async def open_ses(settings: Settings, http: httpx.AsyncClient) -> AsyncIterator[EmailSender]:
    yield Ses(settings, http, system_clock)


@hookimpl
def register_email_senders() -> list[EmailSenderDescriptor]:
    return [
        EmailSenderDescriptor(
            name="ses",
            contract=1,
            settings=Settings,
            hosts=hosts,
            open=open_ses,
            fields=FIELDS,
            headers=HEADERS,
        )
    ]

"""An email sender that speaks SMTP to one server, encrypted or not at all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from abaxus_core.plugin.email import MIME_FIELDS, EmailSender, EmailSenderDescriptor
from abaxus_core.plugin.hookspecs import hookimpl
from abaxus_plugins.smtp.sender import Smtp
from abaxus_plugins.smtp.settings import Settings


def hosts(settings: Settings) -> frozenset[str]:
    return frozenset({settings.host})


@asynccontextmanager
async def open_smtp(settings: Settings, _http: httpx.AsyncClient) -> AsyncIterator[EmailSender]:
    yield Smtp(settings)


@hookimpl
def register_email_senders() -> list[EmailSenderDescriptor]:
    return [
        EmailSenderDescriptor(
            name="smtp",
            contract=1,
            settings=Settings,
            hosts=hosts,
            open=open_smtp,
            fields=MIME_FIELDS,
        )
    ]

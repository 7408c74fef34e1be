"""An email sender by SendGrid's Mail Send API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal

import httpx
import msgspec

from abaxus_core.plugin.email import EmailSender, EmailSenderDescriptor
from abaxus_core.plugin.hookspecs import hookimpl
from abaxus_core.plugin.settings import Token
from abaxus_plugins.sendgrid.sender import SendGrid
from abaxus_plugins.sendgrid.wire import FIELDS, HEADERS

HOSTS: Final = {"global": "api.sendgrid.com", "eu": "api.eu.sendgrid.com"}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    api_key: Token
    region: Literal["global", "eu"] = "global"


def hosts(settings: Settings) -> frozenset[str]:
    return frozenset({HOSTS[settings.region]})


@asynccontextmanager
async def open_sendgrid(settings: Settings, http: httpx.AsyncClient) -> AsyncIterator[EmailSender]:
    yield SendGrid(f"https://{HOSTS[settings.region]}", settings.api_key, http)


@hookimpl
def register_email_senders() -> list[EmailSenderDescriptor]:
    return [
        EmailSenderDescriptor(
            name="sendgrid",
            contract=1,
            settings=Settings,
            hosts=hosts,
            open=open_sendgrid,
            fields=FIELDS,
            headers=HEADERS,
        )
    ]

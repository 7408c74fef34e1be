"""An email sender by Mailgun's API, which takes the mail as MIME."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal

import httpx
import msgspec

from abaxus_core.plugin.email import EmailSender, EmailSenderDescriptor
from abaxus_core.plugin.hookspecs import hookimpl
from abaxus_core.plugin.settings import HostName, Token
from abaxus_plugins.mailgun.sender import Mailgun
from abaxus_plugins.mailgun.wire import FIELDS, HEADERS

HOSTS: Final = {"us": "api.mailgun.net", "eu": "api.eu.mailgun.net"}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    api_key: Token
    domain: HostName
    region: Literal["us", "eu"] = "us"


def hosts(settings: Settings) -> frozenset[str]:
    return frozenset({HOSTS[settings.region]})


@asynccontextmanager
async def open_mailgun(settings: Settings, http: httpx.AsyncClient) -> AsyncIterator[EmailSender]:
    yield Mailgun(f"https://{HOSTS[settings.region]}/v3/{settings.domain}", settings.api_key, http)


@hookimpl
def register_email_senders() -> list[EmailSenderDescriptor]:
    return [
        EmailSenderDescriptor(
            name="mailgun",
            contract=1,
            settings=Settings,
            hosts=hosts,
            open=open_mailgun,
            fields=FIELDS,
            headers=HEADERS,
        )
    ]

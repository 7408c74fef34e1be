"""An email sender by Resend's API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx
import msgspec

from abaxus_core.plugin.email import EmailSender, EmailSenderDescriptor
from abaxus_core.plugin.hookspecs import hookimpl
from abaxus_core.plugin.settings import Token
from abaxus_plugins.resend.sender import Resend
from abaxus_plugins.resend.wire import FIELDS, HEADERS

HOST: Final = "api.resend.com"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    api_key: Token


def hosts(_settings: Settings) -> frozenset[str]:
    return frozenset({HOST})


@asynccontextmanager
async def open_resend(settings: Settings, http: httpx.AsyncClient) -> AsyncIterator[EmailSender]:
    yield Resend(f"https://{HOST}", settings.api_key, http)


@hookimpl
def register_email_senders() -> list[EmailSenderDescriptor]:
    return [
        EmailSenderDescriptor(
            name="resend",
            contract=1,
            settings=Settings,
            hosts=hosts,
            open=open_resend,
            fields=FIELDS,
            headers=HEADERS,
        )
    ]

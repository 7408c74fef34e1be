"""An email sender by Postmark's API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final

import httpx
import msgspec

from abaxus_core.plugin.email import EmailSender, EmailSenderDescriptor
from abaxus_core.plugin.hookspecs import hookimpl
from abaxus_core.plugin.settings import Token
from abaxus_plugins.postmark.sender import Postmark
from abaxus_plugins.postmark.wire import FIELDS, HEADERS

HOST: Final = "api.postmarkapp.com"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    server_token: Token
    message_stream: Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]{1,30}$")] = "outbound"


def hosts(_settings: Settings) -> frozenset[str]:
    return frozenset({HOST})


@asynccontextmanager
async def open_postmark(settings: Settings, http: httpx.AsyncClient) -> AsyncIterator[EmailSender]:
    yield Postmark(f"https://{HOST}", settings.server_token, settings.message_stream, http)


@hookimpl
def register_email_senders() -> list[EmailSenderDescriptor]:
    return [
        EmailSenderDescriptor(
            name="postmark",
            contract=1,
            settings=Settings,
            hosts=hosts,
            open=open_postmark,
            fields=FIELDS,
            headers=HEADERS,
        )
    ]

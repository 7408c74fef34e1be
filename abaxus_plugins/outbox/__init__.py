"""An email sender that writes files instead: demos, tests, test mode."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec

from abaxus_core.plugin.email import MIME_FIELDS, EmailSender, EmailSenderDescriptor
from abaxus_core.plugin.hookspecs import hookimpl
from abaxus_plugins.outbox.sender import Outbox


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`dir`: where the files go; made with the first mail."""

    dir: Path = Path(".abaxus/outbox")


def hosts(_settings: Settings) -> frozenset[str]:
    return frozenset()


@asynccontextmanager
async def open_outbox(settings: Settings, _http: httpx.AsyncClient) -> AsyncIterator[EmailSender]:
    yield Outbox(settings.dir)


@hookimpl
def register_email_senders() -> list[EmailSenderDescriptor]:
    return [
        EmailSenderDescriptor(
            name="outbox",
            contract=1,
            settings=Settings,
            hosts=hosts,
            open=open_outbox,
            fields=MIME_FIELDS,
        )
    ]

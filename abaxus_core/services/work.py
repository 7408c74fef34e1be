"""What a use-case gets of the world: the mode it runs in, and one open transaction.

A write is a function of a `Work`; a use-case that calls a provider takes the `Context` and runs
several. Nothing here knows HTTP or the queue.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from abaxus_core.domain.parties import Seller
from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.config import Settings
from abaxus_core.kernel.database import Connection, Database
from abaxus_core.kernel.ids import Ids
from abaxus_core.plugin.email import EmailSender
from abaxus_core.plugin.payments import PaymentProvider
from abaxus_core.services.backfill import Backfill
from abaxus_core.services.documents.making import Documents
from abaxus_core.services.ingestion import Intake
from abaxus_core.services.telemetry import Telemetry

T = TypeVar("T")

SYSTEM = "system"
NOBODY = Seller()
# Reservations that are made or settled at once, in this process and mode.
RESERVING_MAX: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One mode of the running process; built once by the composition root.

    `payment_providers` by plugin name; `default_payment_provider` serves customers who name none.
    `intake` takes usage events in, `backfill` stores them at once. `reserving` is taken while a
    reservation is changed: those of one feature wait for each other, each with a connection.
    `email_sender` is None where no EMAIL_PROVIDER is configured.
    """

    mode: str
    database: Database
    clock: Clock
    ids: Ids
    settings: Settings
    payment_providers: Mapping[str, PaymentProvider]
    default_payment_provider: str | None
    email_provider: str | None
    email_sender: EmailSender | None
    seller: Seller
    documents: Documents
    telemetry: Telemetry
    intake: Intake
    backfill: Backfill
    reserving: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(RESERVING_MAX))


@dataclass(frozen=True, slots=True)
class Work:
    """One open transaction. `actor` is the id of an API key, or "system"; `seller` issues."""

    conn: Connection
    now: datetime
    ids: Ids
    actor: str
    seller: Seller = NOBODY


async def perform(context: Context, actor: str, step: Callable[[Work], Awaitable[T]]) -> T:
    """Run `step` in one transaction and commit; re-run when the database asks for it."""

    async def in_transaction(conn: Connection) -> T:
        return await step(Work(conn, context.clock(), context.ids, actor, context.seller))

    return await context.database.transaction(in_transaction)

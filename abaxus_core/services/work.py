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
from abaxus_core.services.entitlements import documents
from abaxus_core.services.entitlements.access import Entitlements
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
    `intake` takes usage events in, `backfill` stores them at once; `entitlements` answers checks.
    `reserving` is taken while a reservation is changed: those of one feature wait for each other,
    each with a connection. `email_sender` is None where no EMAIL_PROVIDER is configured.
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
    entitlements: Entitlements
    reserving: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(RESERVING_MAX))


@dataclass(frozen=True, slots=True)
class Work:
    """One open transaction. `actor` is the id of an API key, or "system"; `seller` issues.

    `entitled` are the ids of the customers whose entitlements it changes: `perform` renews their
    documents last, and tells the cache of it.
    """

    conn: Connection
    now: datetime
    ids: Ids
    actor: str
    seller: Seller = NOBODY
    entitled: set[str] = field(default_factory=set)


async def perform(context: Context, actor: str, step: Callable[[Work], Awaitable[T]]) -> T:
    """Run `step` in one transaction and commit; re-run when the database asks for it.

    Returns when no check gives what was granted before to a customer in `entitled`.
    """
    entitled: set[str] = set()

    async def in_transaction(conn: Connection) -> T:
        entitled.clear()
        work = Work(conn, context.clock(), context.ids, actor, context.seller, entitled)
        result = await step(work)
        if entitled:
            await documents.renew(conn, entitled, now=work.now)
        return result

    result = await context.database.transaction(in_transaction)
    if entitled:
        await context.entitlements.changed(frozenset(entitled), waiting=actor != SYSTEM)
    return result

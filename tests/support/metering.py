"""A small catalogue to meter against, and short ways to offer and land events."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from abaxus_core import app
from abaxus_core.domain.customers import Customer
from abaxus_core.domain.decimals import plain
from abaxus_core.domain.digest import event_digest, event_key, payload_hash
from abaxus_core.domain.events import Event, properties_text
from abaxus_core.domain.instants import microseconds
from abaxus_core.domain.metrics import Metric
from abaxus_core.kernel import config
from abaxus_core.kernel.clock import Clock
from abaxus_core.kernel.database import Connection, Database
from abaxus_core.repositories import customers, metrics
from abaxus_core.services.documents.opening import documents_of
from abaxus_core.services.documents.press import Press
from abaxus_core.services.ingestion import Accepted, Offer
from abaxus_core.services.landing import Landed, Lander
from abaxus_core.services.plugins import Providers
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.services.work import Context

T0 = datetime(2026, 5, 1, tzinfo=UTC)

METRICS: tuple[dict[str, object], ...] = (
    {"key": "total", "aggregation": "sum"},
    {"key": "calls", "aggregation": "count"},
    {"key": "peak", "aggregation": "max"},
    {"key": "low", "aggregation": "min"},
    {"key": "level", "aggregation": "last"},
    {"key": "users", "aggregation": "unique_count", "property": "user"},
    {"key": "p95", "aggregation": "percentile", "percentile": Decimal(95)},
    {"key": "whole", "aggregation": "sum", "value_type": "integer"},
    {"key": "gone", "aggregation": "sum"},
)


NO_PROVIDERS = Providers(
    payment_providers={}, default_payment_provider=None, email_provider=None, email_sender=None
)


def shared_of(environ: Mapping[str, str]) -> app.Shared:
    """What both modes have in common, of these settings."""
    settings = config.load(environ)
    return app.Shared(settings, Telemetry(), documents_of(settings, Press()))


def context_of(database: Database, clock: Clock, **settings: str) -> Context:
    """A context without providers."""
    environ = {
        "DATABASE_URL": "postgresql://unused",
        "API_MASTER_KEY": "k" * config.MASTER_KEY_LENGTH_MIN,
        **settings,
    }
    return app.context_of(shared_of(environ), database, NO_PROVIDERS, clock)


async def make_catalogue(
    database: Database, customer_ids: Sequence[str] = ("acme", "beta")
) -> None:
    """The metrics above (`gone` is deactivated) and some customers."""

    async def step(conn: Connection) -> None:
        for fields in METRICS:
            key = str(fields["key"])
            await metrics.insert(
                conn, Metric(metric_no=0, id=f"met_{key}", name=key, created_at=T0, **fields)
            )
        await metrics.set_status(conn, "gone", "inactive")
        for customer_id in customer_ids:
            await customers.insert(conn, Customer(customer_no=0, id=customer_id, created_at=T0))

    await database.transaction(step)


def event(key: str = "k1", **fields: object) -> Event:
    """An event of `acme` for `total`, worth 1, at T0, unless said otherwise."""
    given: dict[str, object] = {
        "customer_id": "acme",
        "metric_key": "total",
        "value": Decimal(1),
        "timestamp": T0,
        "idempotency_key": key,
        **fields,
    }
    return Event(**given)


def payload_hash_of(sent: Event, metric_no: int) -> int:
    """What the event's row holds as its fingerprint."""
    return payload_hash(
        event_key(event_digest(sent.customer_id, sent.idempotency_key)),
        metric_no,
        microseconds(sent.timestamp),
        plain(sent.value),
        sent.subscription_id,
        properties_text(sent.properties) if sent.properties else None,
    )


async def offer(context: Context, *offers: Offer) -> list[bool | str]:
    """What became of each: its error's code, or whether it was a duplicate."""
    results = await context.intake.accept(offers)
    return [one.duplicate if isinstance(one, Accepted) else one.code for one in results]


async def land_all(context: Context) -> list[Landed]:
    """Land until the inbox is empty."""
    lander = Lander(context.database, context.clock)
    landings = []
    while (landed := await lander.land()).row_count:
        landings.append(landed)
    return landings


async def fetch(database: Database, statement: str, *args: object) -> list[tuple[object, ...]]:
    """Rows of a statement that only a test needs."""
    async with database.connection() as conn:
        return [tuple(row) for row in await conn.fetch(statement, *args)]

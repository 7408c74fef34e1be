"""The composition root: builds what a process needs, in order, and closes it in reverse.

Nothing else constructs databases, plugins or contexts; everything else is handed what it uses.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from abaxus_core.domain.parties import Seller
from abaxus_core.kernel import config, migrations
from abaxus_core.kernel.clock import Clock, system_clock
from abaxus_core.kernel.config import DatabaseSettings, Settings
from abaxus_core.kernel.database import Database, Databases, PoolSettings, open_databases
from abaxus_core.kernel.first_contact import first_contact
from abaxus_core.kernel.ids import Ids
from abaxus_core.repositories.installation import installation_id
from abaxus_core.services import api_keys, plugins
from abaxus_core.services.backfill import Backfill
from abaxus_core.services.documents.making import Documents
from abaxus_core.services.documents.opening import documents_of
from abaxus_core.services.documents.press import Press
from abaxus_core.services.entitlements.access import Entitlements
from abaxus_core.services.entitlements.cache import Redis, RedisCache
from abaxus_core.services.entitlements.kept_snapshots import KeptSnapshots
from abaxus_core.services.entitlements.opening import open_redis
from abaxus_core.services.entitlements.stored import Stored
from abaxus_core.services.ingestion import Intake
from abaxus_core.services.plugins import Choice, Providers
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.services.work import SYSTEM, Context, Work, perform

# What test mode is given in place of whatever is configured (product rule: a test key can never
# reach a real provider).
TEST_MODE_PROVIDERS = Choice(
    plugins=("sandbox", "outbox"), payment_provider="sandbox", email_provider="outbox"
)


@dataclass(frozen=True, slots=True)
class App:
    """A process's settings, its databases and one context per mode."""

    settings: Settings
    databases: Databases
    contexts: Mapping[str, Context]
    telemetry: Telemetry


@dataclass(frozen=True, slots=True)
class Shared:
    """What both modes of a process have in common."""

    settings: Settings
    telemetry: Telemetry
    documents: Documents
    redis: Redis | None = None


@asynccontextmanager
async def opened(environ: Mapping[str, str], *, process: str) -> AsyncIterator[App]:
    """Everything that API and worker share, on a schema that fits.

    Raises ConfigurationError with every fault of settings and plugins, where the operator's
    templates do not work or the database cannot be used, NotReady on a schema that does not fit.
    """
    settings, live, test = plugins.read(environ, TEST_MODE_PROVIDERS)
    async with AsyncExitStack() as stack:
        press = stack.enter_context(Press())
        telemetry, documents = Telemetry(), documents_of(settings, press)
        databases = await stack.enter_async_context(
            open_databases(settings.database_url.reveal(), pool_settings(settings, process))
        )
        with first_contact():
            async with databases.live.connection() as conn:
                await migrations.check(conn)
                installation = await installation_id(conn)
        redis = await stack.enter_async_context(open_redis(settings, telemetry, installation))
        shared = Shared(settings, telemetry, documents, redis)
        contexts = {}
        for database, selection in ((databases.live, live), (databases.test, test)):
            providers = await stack.enter_async_context(plugins.opened(selection))
            context = contexts[database.mode] = context_of(shared, database, providers)
            stack.push_async_callback(context.entitlements.close)
        yield App(settings, databases, contexts, telemetry)


@asynccontextmanager
async def opened_database(
    environ: Mapping[str, str], *, mode: str, process: str
) -> AsyncIterator[Database]:
    """One mode's data on a schema that fits, for the shell: needs what `abaxus migrate` needs.

    Raises ConfigurationError and NotReady as `opened` does.
    """
    settings = config.load_database(environ)
    pool = pool_settings(settings, process)
    async with open_databases(settings.database_url.reveal(), pool) as databases:
        with first_contact():
            async with databases.live.connection() as conn:
                await migrations.check(conn)
        yield databases.of(mode)


def pool_settings(settings: DatabaseSettings, process: str) -> PoolSettings:
    """How `process` connects; its name is what pg_stat_activity shows."""
    return PoolSettings(
        connections_max=settings.database_max_connections,
        idle_timeout_s=int(settings.database_idle_timeout.total_seconds()),
        connect_timeout_s=int(settings.database_connect_timeout.total_seconds()),
        ssl_mode=settings.database_ssl_mode,
        statement_cache_size=settings.database_statement_cache_size,
        application_name=f"abaxus-{process}",
    )


async def create_key(
    environ: Mapping[str, str], *, name: str, scopes: tuple[str, ...], mode: str
) -> str:
    """A new API key, in the clear: for the shell, where the first key has to come from."""
    async with opened(environ, process="keys") as app:

        async def create(work: Work) -> api_keys.Issued:
            return await api_keys.create(
                work,
                mode=mode,
                name=name,
                scopes=scopes,
                master_key=app.settings.api_master_key,
            )

        issued = await perform(app.contexts[mode], SYSTEM, create)
    return issued.secret.reveal()


def context_of(
    shared: Shared, database: Database, providers: Providers, clock: Clock = system_clock
) -> Context:
    """One mode's context, with what takes its events in."""
    settings, telemetry = shared.settings, shared.telemetry
    intake = Intake(
        database,
        clock,
        telemetry,
        backlog_max=settings.ingest_backlog_max,
        backlog_age_max=settings.ingest_backlog_age_max,
    )
    return Context(
        mode=database.mode,
        database=database,
        clock=clock,
        ids=Ids(clock),
        settings=settings,
        payment_providers=providers.payment_providers,
        default_payment_provider=providers.default_payment_provider,
        email_provider=providers.email_provider,
        email_sender=providers.email_sender,
        seller=_seller(settings),
        documents=shared.documents,
        telemetry=telemetry,
        intake=intake,
        backfill=Backfill(database, clock, telemetry, intake),
        entitlements=_entitlements(shared, database, clock),
    )


def _entitlements(shared: Shared, database: Database, clock: Clock) -> Entitlements:
    stored = Stored(database, clock, shared.telemetry)
    kept = KeptSnapshots(stored, database, clock, shared.telemetry)
    if shared.redis is None:
        return Entitlements(stored, kept=kept)
    cache = RedisCache(shared.redis, database.mode, kept, clock, shared.telemetry)
    return Entitlements(stored, kept=kept, cache=cache)


def _seller(settings: Settings) -> Seller:
    """The settings' own kinds of text are none that msgspec stores."""
    return Seller(
        name=_plain(settings.seller_name),
        address=tuple(map(str, settings.seller_address)),
        tax_id=_plain(settings.seller_tax_id),
        email=_plain(settings.seller_email),
        note=_plain(settings.document_note),
    )


def _plain(text: str | None) -> str | None:
    return None if text is None else str(text)

"""The composition root: builds what a process needs, in order, and closes it in reverse.

Nothing else constructs databases, plugins or contexts; everything else is handed what it uses.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from abaxus_core.errors import ConfigurationError
from abaxus_core.kernel import config, migrations, plugin_manager
from abaxus_core.kernel.clock import system_clock
from abaxus_core.kernel.config import DatabaseSettings, Settings
from abaxus_core.kernel.database import Databases, PoolSettings, open_databases
from abaxus_core.kernel.ids import Ids
from abaxus_core.kernel.plugin_manager import Opened, Plugins
from abaxus_core.services import api_keys
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.services.work import SYSTEM, Context, Work, perform

# What test mode is given in place of whatever is configured (product rule: a test key can never
# reach a real provider).
TEST_MODE_PAYMENT_PROVIDER = "sandbox"
TEST_MODE_EMAIL_PROVIDER = "outbox"


@dataclass(frozen=True, slots=True)
class App:
    """A process's settings, its databases and one context per mode."""

    settings: Settings
    databases: Databases
    contexts: Mapping[str, Context]
    telemetry: Telemetry


@asynccontextmanager
async def opened(environ: Mapping[str, str], *, process: str) -> AsyncIterator[App]:
    """Everything that API and worker share, on a schema that fits.

    Raises ConfigurationError with every fault of settings and plugins, NotReady on a schema that
    does not fit.
    """
    settings = config.load(environ)
    live, test = load_plugins(settings, environ)
    async with AsyncExitStack() as stack:
        databases = await stack.enter_async_context(
            open_databases(settings.database_url.reveal(), pool_settings(settings, process))
        )
        async with databases.live.connection() as conn:
            await migrations.check(conn)
        live_providers = await stack.enter_async_context(plugin_manager.opened(live))
        test_providers = await stack.enter_async_context(plugin_manager.opened(test))
        contexts = {
            "live": _live_context(settings, databases, live_providers),
            "test": _test_context(settings, databases, test_providers),
        }
        yield App(settings, databases, contexts, Telemetry())


def load_plugins(settings: Settings, environ: Mapping[str, str]) -> tuple[Plugins, Plugins]:
    """The plugins of live and of test mode. Raises ConfigurationError with every fault."""
    live = plugin_manager.load(settings.plugins, environ)
    test = plugin_manager.load((TEST_MODE_PAYMENT_PROVIDER, TEST_MODE_EMAIL_PROVIDER), environ)
    faults = [
        *_unknown("PAYMENT_PROVIDER", settings.payment_provider, live.payment_providers),
        *_unknown("EMAIL_PROVIDER", settings.email_provider, live.email_senders),
    ]
    if faults:
        raise ConfigurationError(faults)
    return live, test


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


def _unknown(setting: str, name: str | None, known: Mapping[str, object]) -> list[str]:
    if name is None or name in known:
        return []
    choice = ", ".join(known) or "none; name its plugin in PLUGINS"
    return [f"{setting}: no enabled plugin provides {name!r}; there are: {choice}"]


def _live_context(settings: Settings, databases: Databases, providers: Opened) -> Context:
    sender = providers.email_senders.get(settings.email_provider or "")
    return Context(
        mode="live",
        database=databases.live,
        clock=system_clock,
        ids=Ids(),
        settings=settings,
        payment_providers=providers.payment_providers,
        default_payment_provider=settings.payment_provider,
        email_provider=settings.email_provider,
        email_sender=sender,
    )


def _test_context(settings: Settings, databases: Databases, providers: Opened) -> Context:
    return Context(
        mode="test",
        database=databases.test,
        clock=system_clock,
        ids=Ids(),
        settings=settings,
        payment_providers=providers.payment_providers,
        default_payment_provider=TEST_MODE_PAYMENT_PROVIDER,
        email_provider=TEST_MODE_EMAIL_PROVIDER,
        email_sender=providers.email_senders[TEST_MODE_EMAIL_PROVIDER],
    )

"""The links to Redis that the cache of entitlements is given, where one is configured."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final
from uuid import UUID

from abaxus_core.kernel.config import Settings
from abaxus_core.kernel.redis_link import RedisLink, open_link
from abaxus_core.services.entitlements.cache import Redis
from abaxus_core.services.telemetry import Telemetry

READ_TIMEOUT_MS: Final = 10
CHANGE_TIMEOUT_MS: Final = 50


@asynccontextmanager
async def open_redis(
    settings: Settings, telemetry: Telemetry, installation_id: UUID
) -> AsyncIterator[Redis | None]:
    """Both links, up or still trying; None without REDIS_URL."""
    url = settings.redis_url
    if url is None:
        yield None
        return

    async def linked(name: str, timeout_ms: int) -> RedisLink:
        on_change = partial(telemetry.redis_changed, name)
        link = open_link(url, name=name, timeout_ms=timeout_ms, on_change=on_change)
        return await stack.enter_async_context(link)

    async with AsyncExitStack() as stack:
        yield Redis(
            reads=await linked("reads", READ_TIMEOUT_MS),
            changes=await linked("changes", CHANGE_TIMEOUT_MS),
            space=f"abaxus:{installation_id}",
            ttl=settings.entitlement_cache_ttl,
        )

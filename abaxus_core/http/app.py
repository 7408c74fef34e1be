"""The ASGI application, put together: routes, gate, limits, documentation, CORS.

The composition root gives it the world; server.py listens. Starlette's middleware is used as it
is; its router is not: it tries one pattern after another, which costs more than all that the edge
does before a handler.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from starlette.middleware.cors import CORSMiddleware

from abaxus_core.http import docs_page, health
from abaxus_core.http.auth import Gate
from abaxus_core.http.dispatch import Dispatcher
from abaxus_core.http.edge import Edge
from abaxus_core.http.endpoint import Endpoint
from abaxus_core.http.ratelimit import RateLimiter
from abaxus_core.http.request_log import RequestLog
from abaxus_core.http.routes import ENDPOINTS
from abaxus_core.kernel.clock import system_clock
from abaxus_core.kernel.config import Settings
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.services.work import Context

Application: TypeAlias = Callable[..., Any]

CORS_METHODS = ("GET", "POST", "PATCH", "DELETE")
CORS_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id")
CORS_EXPOSED = (
    "Idempotent-Replay",
    "Retry-After",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-Id",
)


def build(
    contexts: Mapping[str, Context],
    settings: Settings,
    telemetry: Telemetry,
    *,
    monotonic_ns: Callable[[], int] = time.monotonic_ns,
    resources: Sequence[Endpoint] = ENDPOINTS,
) -> Application:
    """The application of this process; `contexts` by mode, live and test."""
    gate = Gate(contexts, settings.api_master_key, monotonic_ns)
    limiter = RateLimiter(settings.api_rate_limit_rpm, monotonic_ns)
    dispatcher = Dispatcher(contexts, gate, limiter, settings.api_max_body_size)
    documented = (*resources, *health.endpoints(contexts, telemetry))
    edge = Edge(
        (*documented, *docs_page.endpoints(documented)),
        dispatcher,
        telemetry,
        RequestLog(settings, system_clock),
        monotonic_ns,
    )
    if not settings.cors_allowed_origins:
        return edge
    return CORSMiddleware(
        edge,
        allow_origins=settings.cors_allowed_origins,
        allow_methods=CORS_METHODS,
        allow_headers=CORS_HEADERS,
        expose_headers=CORS_EXPOSED,
    )

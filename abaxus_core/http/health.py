"""What the platform asks: is this process able to serve, and how is it doing. No key needed."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import msgspec

from abaxus_core.domain.payments import PaymentState
from abaxus_core.http.answers import Answer, answer
from abaxus_core.http.endpoint import Call, Endpoint
from abaxus_core.http.errors import UNREACHABLE
from abaxus_core.kernel import migrations, queue
from abaxus_core.repositories import backlog, payments
from abaxus_core.services.telemetry import CONTENT_TYPE, Telemetry
from abaxus_core.services.work import Context

UNSETTLED: Final[tuple[PaymentState, ...]] = (
    "unknown",
    "pending",
    "requires_action",
    "needs_operator",
)
UNSETTLED_MAX: Final = 10_000


class Healthy(msgspec.Struct, frozen=True, kw_only=True):
    """The database answers and its schema fits."""

    status: str = "ok"


def endpoints(contexts: Mapping[str, Context], telemetry: Telemetry) -> Sequence[Endpoint]:
    """/healthz and /metrics of this process."""
    expected = migrations.released()

    async def healthz(call: Call[None, None]) -> Answer:
        async with call.context.database.connection() as conn:
            await migrations.check(conn, migrations=expected)
        return answer(200, Healthy())

    async def metrics(_call: Call[None, None]) -> Answer:
        telemetry.queue_measured(await _queued(contexts))
        telemetry.inbox_measured(await _waiting(contexts))
        telemetry.payments_measured(await _unsettled(contexts))
        return Answer(200, telemetry.exposition(), CONTENT_TYPE.encode())

    return (
        Endpoint(
            method="GET",
            path="/healthz",
            handler=healthz,
            scope=None,
            summary="Say whether the database answers and its schema fits",
            tag="operations",
            answers={200: Healthy},
            errors=("NOT_READY",),
        ),
        Endpoint(
            method="GET",
            path="/metrics",
            handler=metrics,
            scope=None,
            summary="Counters and histograms of this process, for Prometheus",
            tag="operations",
            answers={200: None},
            media_type="text/plain",
        ),
    )


async def _queued(contexts: Mapping[str, Context]) -> dict[tuple[str, str, str], int]:
    """Empty while the database does not answer: the process's own numbers matter most then."""
    queued = {}
    with suppress(*UNREACHABLE):
        for mode, context in contexts.items():
            async with context.database.connection() as conn:
                for depth in await queue.depth(conn):
                    queued[mode, depth.kind, depth.state] = depth.jobs
    return queued


async def _waiting(contexts: Mapping[str, Context]) -> dict[str, dict[str, int]]:
    """What the inbox of each mode holds, by telemetry's names; empty as `_queued` is."""
    waiting = {}
    with suppress(*UNREACHABLE):
        for mode, context in contexts.items():
            async with context.database.connection() as conn:
                measured = await backlog.measure(conn, rows_max=context.settings.ingest_backlog_max)
            waiting[mode] = {
                "inbox_rows": measured.row_count,
                "inbox_events": measured.event_count,
                "inbox_age_seconds": _age_s(measured.oldest, context.clock()),
                "quarantine_rows": measured.quarantined_rows,
            }
    return waiting


async def _unsettled(contexts: Mapping[str, Context]) -> dict[str, dict[str, int]]:
    """Attempts to charge that wait for news or for an operator; empty as `_queued` is."""
    unsettled = {}
    with suppress(*UNREACHABLE):
        for mode, context in contexts.items():
            async with context.database.connection() as conn:
                unsettled[mode] = await payments.unsettled(conn, UNSETTLED, UNSETTLED_MAX)
    return unsettled


def _age_s(oldest: datetime | None, now: datetime) -> int:
    return 0 if oldest is None else max(0, (now - oldest) // timedelta(seconds=1))

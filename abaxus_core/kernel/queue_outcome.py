"""What becomes of a job whose handler did not simply return."""

import secrets
import traceback
from datetime import timedelta

import structlog

from abaxus_core.errors import AbaxusError
from abaxus_core.kernel.queue import Discard, Snooze
from abaxus_core.kernel.queue_attempt import LeaseLost, WorkerStops
from abaxus_core.kernel.queue_claims import Claim, Claims

RETRY_DELAY_MIN_MS = 1_000
RETRY_DELAY_MAX_MS = 3_600_000
ERROR_LENGTH_MAX = 2_000
_DOUBLINGS_MAX = 30

_log = structlog.get_logger("abaxus.queue")


async def settle_fault(claims: Claims, claim: Claim, fault: Exception) -> None:
    """Give the job back or discard it, as the fault demands."""
    attempt, attempts_max = claim.record["attempt"], claim.record["attempts_max"]
    match fault:
        case LeaseLost():
            _log.warning("job.lease_lost", job_id=claim.job_id, kind=claim.record["kind"])
        case WorkerStops():
            await claims.give_back_untouched([claim])
        case Snooze(seconds=seconds):
            delay = timedelta(seconds=seconds)
            await claims.give_back(claim, delay=delay, error=None, attempt_spent=False)
        case _ if isinstance(fault, Discard) or attempt >= attempts_max:
            _tell("job.discarded", claim, fault)
            await claims.discard(claim, describe(fault))
        case _:
            _tell("job.failed", claim, fault)
            delay = retry_delay(attempt)
            await claims.give_back(claim, delay=delay, error=describe(fault), attempt_spent=True)


def retry_delay(attempt: int) -> timedelta:
    """How long to wait after a failed attempt, counted from 1: 1 s, 2 s, 4 s, to an hour.

    A quarter more or less at random, so that what failed together does not come back together.
    """
    middle = min(RETRY_DELAY_MIN_MS << min(attempt - 1, _DOUBLINGS_MAX), RETRY_DELAY_MAX_MS)
    return timedelta(milliseconds=middle - middle // 4 + secrets.randbelow(middle // 2 + 1))


def describe(fault: Exception) -> str:
    """What is kept on the job: our own errors by their message, others with where they arose."""
    if isinstance(fault, AbaxusError):
        return f"{fault.code}: {fault.message}"[:ERROR_LENGTH_MAX]
    text = "".join(traceback.format_exception(fault)) if fault.__traceback__ else str(fault)
    return text.replace("\0", "")[-ERROR_LENGTH_MAX:]


def _tell(event: str, claim: Claim, fault: Exception) -> None:
    """The log gets the kind of fault; its text, which may quote data, stays on the job."""
    expected = isinstance(fault, (AbaxusError, Discard))
    (_log.warning if expected else _log.error)(
        event,
        job_id=claim.job_id,
        kind=claim.record["kind"],
        attempt=claim.record["attempt"],
        error=type(fault).__name__,
    )

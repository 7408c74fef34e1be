"""From errors to answers: one table from class to status, one form of body.

Which code is raised where is told in docs/errors.md, which a test holds against the code.
"""

from collections.abc import Mapping

import asyncpg
import msgspec

from abaxus_core import errors
from abaxus_core.http import codec
from abaxus_core.http.answers import Header


class MethodNotAllowed(errors.AbaxusError):
    """The path is there, the method is not. `allow`: those that are."""

    default_code = "METHOD_NOT_ALLOWED"

    def __init__(self, allow: str) -> None:
        super().__init__(f"this path answers {allow}")
        self.allow = allow


STATUS: Mapping[type[errors.AbaxusError], int] = {
    errors.MalformedBody: 400,
    errors.Unauthorized: 401,
    errors.PaymentDeclined: 402,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    MethodNotAllowed: 405,
    errors.Conflict: 409,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.InvalidInput: 422,
    errors.IdempotencyMismatch: 422,
    errors.RateLimited: 429,
    errors.ProviderUnavailable: 502,
    errors.NotReady: 503,
    errors.ChargesPaused: 503,
}
STATUS_OF_A_BUG = 500
RETRY_WHEN_READY_S = 1
UNREACHABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.QueryCanceledError,
    ConnectionError,
    TimeoutError,
    OSError,
)


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong. `field` is a path such as `charges[0].tiers[1].up_to`."""

    code: str
    message: str
    field: str | None
    details: dict[str, object] | msgspec.UnsetType = msgspec.UNSET


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every answer that is not a success."""

    error: ErrorBody
    request_id: str


def status_of(error: errors.AbaxusError) -> int:
    """The status of the nearest class in the table."""
    return next((STATUS[kind] for kind in type(error).mro() if kind in STATUS), STATUS_OF_A_BUG)


def error_body(error: errors.AbaxusError, request_id: str) -> bytes:
    """The documented JSON body; text that is not UTF-8 has its faulty parts replaced."""
    described = ErrorBody(
        code=error.code,
        message=storable(error.message),
        field=None if error.field is None else storable(error.field),
        details=msgspec.UNSET if error.details is None else dict(error.details),
    )
    return codec.encode(ErrorAnswer(error=described, request_id=request_id))


def error_headers(error: errors.AbaxusError) -> tuple[Header, ...]:
    """What the status asks to be said beside the body."""
    if isinstance(error, errors.RateLimited):
        return ((b"retry-after", b"%d" % error.retry_after_s),)
    if isinstance(error, errors.NotReady):
        return ((b"retry-after", b"%d" % RETRY_WHEN_READY_S),)
    if isinstance(error, errors.ProviderUnavailable) and error.retry_after_s is not None:
        return ((b"retry-after", b"%d" % error.retry_after_s),)
    if isinstance(error, errors.Unauthorized):
        return ((b"www-authenticate", b"Bearer"),)
    if isinstance(error, MethodNotAllowed):
        return ((b"allow", error.allow.encode()),)
    return ()


def as_ours(error: Exception) -> errors.AbaxusError | None:
    """The error to show; None for a bug, which is logged and never described to the caller."""
    if isinstance(error, errors.AbaxusError):
        return error
    if isinstance(error, UNREACHABLE):
        return errors.NotReady("the database does not answer in time; try again")
    return None


def storable(text: str) -> str:
    """The text as UTF-8 can say it: lone surrogates are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()

"""Everything the product raises on purpose, in one tree.

    AbaxusError                 a stable code, a message safe to show, the field it is about
    ├── InvalidInput            what the caller sent does not validate
    ├── MalformedBody           the body is not what its content type says
    ├── BodyTooLarge
    ├── UnsupportedMedia
    ├── Unauthorized            no key, or one that is not known
    ├── Forbidden               the key's scopes do not cover the route
    ├── NotFound
    ├── Conflict                the request fights with what is stored
    │   └── IllegalTransition   the object's state does not allow it
    ├── IdempotencyMismatch     an idempotency key came back with another payload
    ├── PaymentDeclined         the provider refused the charge, finally
    ├── RateLimited             too many requests, or a backlog too long; says when to come back
    ├── NotReady                the database does not answer, or its schema does not fit
    ├── ProviderUnavailable     nothing was sent to the provider; a retry is safe
    ├── ChargesPaused           operators have stopped all charging for a while
    └── ConfigurationError      at start only
    InvariantBroken             a bug of ours: never caught, answered as INTERNAL, loud

HTTP status codes are not known here; http/errors.py maps classes to them.
"""

from collections.abc import Mapping
from typing import ClassVar


class AbaxusError(Exception):
    """The world's fault, not ours; safe to show to the caller."""

    default_code: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        field: str | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.field = field
        self.details = details


class InvalidInput(AbaxusError):
    default_code = "VALIDATION_FAILED"


class MalformedBody(AbaxusError):
    default_code = "MALFORMED_JSON"


class BodyTooLarge(AbaxusError):
    default_code = "BODY_TOO_LARGE"


class UnsupportedMedia(AbaxusError):
    default_code = "UNSUPPORTED_MEDIA_TYPE"


class Unauthorized(AbaxusError):
    default_code = "UNAUTHENTICATED"


class Forbidden(AbaxusError):
    default_code = "FORBIDDEN_SCOPE"


class NotFound(AbaxusError):
    default_code = "NOT_FOUND"


class Conflict(AbaxusError):
    default_code = "CONFLICT"


class IllegalTransition(Conflict):
    default_code = "INVALID_STATE"


class IdempotencyMismatch(AbaxusError):
    default_code = "IDEMPOTENCY_KEY_REUSED"


class PaymentDeclined(AbaxusError):
    default_code = "PAYMENT_DECLINED"


class RateLimited(AbaxusError):
    """`retry_after_s`: whole seconds after which asking again makes sense."""

    default_code = "RATE_LIMITED"

    def __init__(self, message: str, *, retry_after_s: int, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class NotReady(AbaxusError):
    default_code = "NOT_READY"


class ProviderUnavailable(AbaxusError):
    """`retry_after_s`: whole seconds for which the provider wants to be left alone, if it said."""

    default_code = "PROVIDER_UNAVAILABLE"

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: int | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, details=details)
        self.retry_after_s = retry_after_s


class ChargesPaused(AbaxusError):
    default_code = "CHARGING_PAUSED"


class ConfigurationError(AbaxusError):
    """`faults`: every fault found, a sentence each."""

    default_code = "CONFIGURATION"

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class InvariantBroken(Exception):
    """A state we hold to be impossible; never caught below the edge."""

"""Every code an answer can carry, with the error it comes from, hence its status.

docs/errors.md tells when each comes and what to do; a test holds both against the code.
"""

from collections.abc import Mapping

from abaxus_core import errors
from abaxus_core.http.errors import STATUS, MethodNotAllowed

RAISED_AS: Mapping[str, type[errors.AbaxusError]] = {
    "MALFORMED_JSON": errors.MalformedBody,
    "UNAUTHENTICATED": errors.Unauthorized,
    "PAYMENT_DECLINED": errors.PaymentDeclined,
    "FORBIDDEN_SCOPE": errors.Forbidden,
    "SIGNATURE_INVALID": errors.Forbidden,
    "NOT_FOUND": errors.NotFound,
    "API_KEY_NOT_FOUND": errors.NotFound,
    "METRIC_NOT_FOUND": errors.NotFound,
    "PLAN_NOT_FOUND": errors.NotFound,
    "PLAN_VERSION_NOT_FOUND": errors.NotFound,
    "CUSTOMER_NOT_FOUND": errors.NotFound,
    "SUBSCRIPTION_NOT_FOUND": errors.NotFound,
    "AMENDMENT_NOT_FOUND": errors.NotFound,
    "RESERVATION_NOT_FOUND": errors.NotFound,
    "INVOICE_NOT_FOUND": errors.NotFound,
    "LINE_NOT_FOUND": errors.NotFound,
    "PAYMENT_NOT_FOUND": errors.NotFound,
    "JOB_NOT_FOUND": errors.NotFound,
    "CALCULATION_NOT_FOUND": errors.NotFound,
    "METHOD_NOT_ALLOWED": MethodNotAllowed,
    "METRIC_KEY_DUPLICATE": errors.Conflict,
    "CUSTOMER_ID_DUPLICATE": errors.Conflict,
    "METRIC_INACTIVE": errors.Conflict,
    "METRIC_ALREADY_PRICED": errors.Conflict,
    "CURRENCY_MISMATCH": errors.Conflict,
    "PLAN_VERSION_DEPRECATED": errors.Conflict,
    "REQUEST_IN_PROGRESS": errors.Conflict,
    "RESERVATION_EXPIRED": errors.Conflict,
    "NOTHING_TO_INVOICE": errors.Conflict,
    "CALCULATION_OUTDATED": errors.Conflict,
    "TOO_MANY_EVENTS": errors.Conflict,
    "CHARGE_IN_PROGRESS": errors.Conflict,
    "CONFLICT": errors.Conflict,
    "INVALID_STATE": errors.IllegalTransition,
    "BODY_TOO_LARGE": errors.BodyTooLarge,
    "UNSUPPORTED_MEDIA_TYPE": errors.UnsupportedMedia,
    "VALIDATION_FAILED": errors.InvalidInput,
    "UNKNOWN_FIELD": errors.InvalidInput,
    "TIMESTAMP_IN_FUTURE": errors.InvalidInput,
    "CUTOFF_IN_FUTURE": errors.InvalidInput,
    "CALCULATION_MISMATCH": errors.InvalidInput,
    "CALCULATION_EXPIRED": errors.InvalidInput,
    "NO_PAYMENT_METHOD": errors.InvalidInput,
    "NO_EMAIL_ADDRESS": errors.InvalidInput,
    "DOCUMENT_TOO_LONG": errors.InvalidInput,
    "PROVIDER_NOT_ENABLED": errors.InvalidInput,
    "PAYMENT_REJECTED": errors.InvalidInput,
    "BATCH_TOO_LARGE": errors.InvalidInput,
    "IDEMPOTENCY_KEY_REUSED": errors.IdempotencyMismatch,
    "RATE_LIMITED": errors.RateLimited,
    "BACKLOG_FULL": errors.RateLimited,
    "DOCUMENTS_BUSY": errors.RateLimited,
    "PROVIDER_UNAVAILABLE": errors.ProviderUnavailable,
    "CHARGING_PAUSED": errors.ChargesPaused,
    "NOT_READY": errors.NotReady,
    "INTERNAL": errors.AbaxusError,
}


def status_of_code(code: str) -> int:
    """The status that an answer with this code has."""
    kind = RAISED_AS[code]
    return next((STATUS[each] for each in kind.mro() if each in STATUS), 500)

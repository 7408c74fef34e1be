"""What a server's replies prove (RFC 5321 section 4.2, RFC 3463 for the enhanced codes)."""

import re
import ssl
from typing import Final

from aiosmtplib import (
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)

from abaxus_core.plugin.email import EmailOutcome, Scope, detail_of
from abaxus_core.plugin.settings import Secret

_STEPS: Final[tuple[tuple[type[SMTPException], str, Scope], ...]] = (
    (SMTPAuthenticationError, "login", "config"),
    (SMTPSenderRefused, "sender", "config"),
    (SMTPRecipientRefused, "recipient", "recipient"),
    (SMTPDataError, "message", "content"),
    (SMTPException, "hello", "config"),
)
"""What each refusal is about, and whose fault it is unless its code says otherwise."""

_LOGIN_WANTED: Final = frozenset({530, 534, 535, 538})
_BAD_SENDER: Final = frozenset({"5.1.7", "5.1.8", "5.7.60"})
_TOO_LARGE: Final = frozenset({"5.2.3", "5.3.4"})
_ENHANCED: Final = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})\b")
_QUEUE_ID: Final = re.compile(r"(?:queued as|\bid=)\s*([A-Za-z0-9._-]{1,100})")


class NotEncrypted(SMTPException):
    """The connection cannot be encrypted; nothing has been said on it."""


class NoLogin(SMTPException):
    """We are to log in, and the server takes no logins."""


def before_data(error: Exception, *secrets: Secret) -> EmailOutcome:
    """The outcome when it ended before the message was on its way: nothing was delivered.

    A server that stops being trusted or encrypted defers: whoever strips STARTTLS from a
    connection shall delay mail, not destroy it.
    """
    said = _said(error, *secrets)
    if isinstance(error, NotEncrypted) or _is_tls(error):
        return EmailOutcome(status="deferred", code="not_encrypted", detail=said)
    if isinstance(error, NoLogin):
        return EmailOutcome(status="rejected", code="login_refused", scope="config", detail=said)
    if isinstance(error, SMTPResponseException) and not isinstance(error, SMTPConnectError):
        outcome = _of_reply(error, said)
        if outcome is not None:
            return outcome
    return EmailOutcome(status="deferred", code="unreachable", detail=said)


def during_data(error: Exception, *secrets: Secret) -> EmailOutcome:
    """The outcome when the message may have been on its way."""
    said = _said(error, *secrets)
    outcome = _of_reply(error, said) if isinstance(error, SMTPDataError) else None
    return outcome or EmailOutcome(status="unknown", code="no_answer", detail=said)


def queue_id(reply: str) -> str | None:
    """The server's own name of the mail, where its reply has one as Postfix and Exim write it."""
    found = _QUEUE_ID.search(reply)
    return found[1] if found else None


def _of_reply(error: SMTPResponseException, said: str) -> EmailOutcome | None:
    """4yz is for now, 5yz for good; None of anything else: it makes no sense."""
    step, scope = next((step, scope) for kind, step, scope in _STEPS if isinstance(error, kind))
    if 400 <= error.code <= 499:
        return EmailOutcome(status="deferred", code=f"{step}_deferred", detail=said)
    if 500 <= error.code <= 599:
        scope = _scope(scope, error)
        return EmailOutcome(status="rejected", code=f"{step}_refused", scope=scope, detail=said)
    return None


def _scope(usual: Scope, error: SMTPResponseException) -> Scope:
    found = _ENHANCED.match(error.message)
    enhanced = found[1] if found else ""
    if error.code in _LOGIN_WANTED or enhanced in _BAD_SENDER:
        return "config"
    if enhanced in _TOO_LARGE or (error.code == 552 and enhanced != "5.2.2"):
        return "content"
    if usual == "recipient" and enhanced.startswith("5.7."):
        return "config"  # the server does not relay for us
    return usual


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _said(error: Exception, *secrets: Secret) -> str:
    words = " ".join(str(part) for part in error.args[:2])
    return detail_of(words or type(error).__name__, *secrets)

"""Calls into an email sender's plugin: under a deadline, and kept within bounds.

Whatever a plugin raises, returns or forgets ends in an `EmailOutcome`, and `unknown` is what is
left when nothing is proved. Who calls, and what follows, is mailing.py's.
"""

import asyncio
from typing import Final

import msgspec
import structlog

from abaxus_core.plugin.email import DETAIL_LENGTH_MAX, EmailMessage, EmailOutcome, EmailSender

DELIVERY_TIMEOUT_S: Final = 420
"""Of one delivery: a mail server may take minutes to look through what it was sent, and a sender
that hangs up on it makes it deliver twice. The job's own timeout is longer."""
CODE_LENGTH_MAX: Final = 100
REFERENCE_LENGTH_MAX: Final = 255

_log = structlog.get_logger("abaxus.mailing")


async def hand_over(sender: EmailSender, message: EmailMessage, email_id: str) -> EmailOutcome:
    """Deliver once, under the mail's id as key; what it proves."""
    try:
        async with asyncio.timeout(DELIVERY_TIMEOUT_S):
            answer: object = await sender.send(message, email_id)
    except TimeoutError:
        return EmailOutcome(status="unknown", code="timeout")
    except Exception as error:  # noqa: BLE001 - a stranger's code: the mail may have gone out
        _log.warning("sender.raised", email_id=email_id, error=type(error).__name__)
        return EmailOutcome(status="unknown", code="plugin_error", detail=type(error).__name__)
    return _well_formed(answer) or EmailOutcome(status="unknown", code="invalid_outcome")


def _well_formed(answer: object) -> EmailOutcome | None:
    """The same outcome, every field of its type and within its bounds; None if it is none."""
    if not isinstance(answer, EmailOutcome):
        return None
    try:
        outcome = msgspec.json.decode(msgspec.json.encode(answer), type=EmailOutcome)
    except (msgspec.ValidationError, TypeError, ValueError):
        return None
    return msgspec.structs.replace(
        outcome,
        provider_message_id=_bounded(outcome.provider_message_id, REFERENCE_LENGTH_MAX),
        code=_bounded(outcome.code, CODE_LENGTH_MAX),
        detail=_bounded(outcome.detail, DETAIL_LENGTH_MAX),
    )


def _bounded(text: str | None, length_max: int) -> str | None:
    """What PostgreSQL can hold of it."""
    return text.replace("\0", "")[:length_max] if text else None

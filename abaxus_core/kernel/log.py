"""Logs: one line an event, JSON or text, with the ids of the request or job it belongs to.

A line carries ids and counts, never bodies, addresses or keys: whoever logs sees to that, and a
field whose name says that it is a secret is blanked here all the same.
"""

import json
import logging
import sys
from contextvars import ContextVar
from functools import cache
from typing import Any, Literal

import msgspec
import structlog
from structlog.typing import EventDict, Processor

request_id: ContextVar[str | None] = ContextVar("abaxus_request_id", default=None)
job_id: ContextVar[int | None] = ContextVar("abaxus_job_id", default=None)

_SECRET_WORDS = ("secret", "password", "authorization", "api_key", "token", "dsn", "database_url")
_BLANK = "***"


def configure(level: str, format: Literal["json", "text"]) -> None:  # noqa: A002 - as the setting
    """Write events of `level` (debug, info, warning, error) and above to standard error.

    The libraries below us come the same way, from warning on.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*_common(), *_rendering(format)],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(format),
            ],
            foreign_pre_chain=_common(),
        )
    )
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.WARNING), force=True)


def _common() -> list[Processor]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_ids,
        _blank_secrets,
    ]


def _rendering(format: Literal["json", "text"]) -> list[Processor]:  # noqa: A002 - as the setting
    if format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_as_json)]
    # structlog's own choice would show the local variables of every frame, secrets among them.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


def _as_json(event: EventDict, **_options: Any) -> str:
    try:
        return msgspec.json.encode(event, enc_hook=repr).decode()
    except UnicodeEncodeError:
        return json.dumps(event, default=repr)


def _add_ids(_logger: Any, _method: str, event: EventDict) -> EventDict:
    for name, variable in (("request_id", request_id), ("job_id", job_id)):
        value = variable.get()
        if value is not None:
            event.setdefault(name, value)
    return event


def _blank_secrets(_logger: Any, _method: str, event: EventDict) -> EventDict:
    for name in event:
        if _is_secret(name):
            event[name] = _BLANK
    return event


@cache
def _is_secret(name: str) -> bool:
    """Names of fields are words of our code, so that they are few."""
    return any(word in name.lower() for word in _SECRET_WORDS)

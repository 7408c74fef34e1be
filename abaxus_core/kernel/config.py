"""The core's settings: the environment, read once, decoded into frozen Structs.

A field's name in upper case is its variable. Each setting is described in docs/configuration.md,
which a test holds against these Structs. A plugin's own settings are not here: they are read under
the prefix of its provider (kernel/plugin_manager.py).
"""

from collections.abc import Mapping
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import msgspec
from babel import Locale, UnknownLocaleError

from abaxus_core.errors import ConfigurationError
from abaxus_core.kernel import environment
from abaxus_core.plugin.email import is_mail_address
from abaxus_core.plugin.settings import ByteSize, Secret

AsgiServer: TypeAlias = Literal["hypercorn", "uvicorn"]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]

MASTER_KEY_LENGTH_MIN: Final = 32
BODY_SIZE_MAX: Final = 10 << 20
EMAIL_FROM_UNSET: Final = "billing@abaxus.invalid"
REDIS_SCHEMES: Final = ("redis", "rediss", "unix")
REDIS_TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
CACHE_TTL_MIN: Final = timedelta(milliseconds=100)
CACHE_TTL_MAX: Final = timedelta(seconds=60)


class PostgresUrl(Secret):
    """A secret, since it may hold a password."""

    def __init__(self, text: str) -> None:
        if not text.startswith(("postgresql://", "postgres://")):
            raise ValueError("must start with postgresql://")
        super().__init__(text)


class RedisUrl(Secret):
    """A secret, since it may hold a password."""

    def __init__(self, text: str) -> None:
        if not _leads_to_redis(text):
            raise ValueError("must be redis://host:port/db, rediss://host:port/db or unix:///path")
        parts = urlsplit(text)
        options = ("db", *(REDIS_TLS_OPTIONS if parts.scheme == "rediss" else ()))
        if {name for name, _ in parse_qsl(parts.query)} - {*options}:
            raise ValueError(f"must have no option but {', '.join(options)}")
        super().__init__(text)


class MasterKey(Secret):
    def __init__(self, text: str) -> None:
        if len(text) < MASTER_KEY_LENGTH_MIN:
            raise ValueError(f"must have at least {MASTER_KEY_LENGTH_MIN} characters")
        super().__init__(text)


class BodySize(ByteSize):
    def __new__(cls, size: int) -> Self:
        if size > BODY_SIZE_MAX:
            raise ValueError("must be at most 10mb")
        return super().__new__(cls, size)


class Origin(str):
    """What a browser sends as Origin, or `*`."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        scheme, _, host = text.partition("://")
        if text != "*" and (scheme not in ("https", "http") or not host or "/" in host):
            raise ValueError("must be origins such as https://app.example.com")
        return super().__new__(cls, text)


class MailAddress(str):
    """A plain address, without a name beside it."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if not is_mail_address(text):
            raise ValueError("must be a plain address such as billing@example.com")
        return super().__new__(cls, text)


class OneLine(str):
    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if not text.isprintable():
            raise ValueError("must be printable, on one line")
        return super().__new__(cls, text)


class LocaleName(str):
    """A locale of CLDR, as Babel knows it."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        try:
            return super().__new__(cls, str(Locale.parse(text.replace("-", "_"))))
        except (UnknownLocaleError, ValueError) as error:
            raise ValueError("must be a locale such as en, de or pt_BR") from error


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"


class DatabaseSettings(LogSettings, frozen=True, kw_only=True):
    """All that `abaxus migrate` needs."""

    database_url: PostgresUrl
    database_max_connections: Annotated[int, msgspec.Meta(ge=6, le=1000)] = 25
    database_idle_timeout: timedelta = timedelta(seconds=600)
    database_connect_timeout: timedelta = timedelta(seconds=10)
    database_ssl_mode: Literal["disable", "require", "verify-ca", "verify-full"] = "require"
    database_statement_cache_size: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 512


class Settings(DatabaseSettings, frozen=True, kw_only=True):
    """All that the API and the worker need."""

    api_master_key: MasterKey
    api_rate_limit_rpm: Annotated[int, msgspec.Meta(ge=0, le=100_000_000)] = 6000
    api_max_body_size: BodySize = BodySize(1 << 20)
    asgi_server: AsgiServer = "hypercorn"
    cors_allowed_origins: tuple[Origin, ...] = ()
    port: Port = 8080

    redis_url: RedisUrl | None = None
    entitlement_cache_ttl: timedelta = timedelta(seconds=2)

    worker_concurrency: Annotated[int, msgspec.Meta(ge=1, le=100)] = 8
    worker_port: Port = 0
    ingest_backlog_max: Annotated[int, msgspec.Meta(ge=1)] = 100_000
    ingest_backlog_age_max: timedelta = timedelta(hours=24)

    plugins: tuple[str, ...] = ()
    payment_provider: str | None = None
    charges_paused: bool = False
    email_provider: str | None = None
    email_from: MailAddress = MailAddress(EMAIL_FROM_UNSET)

    seller_name: OneLine | None = None
    seller_address: tuple[OneLine, ...] = ()
    seller_tax_id: OneLine | None = None
    seller_email: MailAddress | None = None
    document_locale: LocaleName = LocaleName("en")
    document_note: OneLine | None = None
    document_templates: Path | None = None

    def __post_init__(self) -> None:
        if not CACHE_TTL_MIN <= self.entitlement_cache_ttl <= CACHE_TTL_MAX:
            raise ValueError("ENTITLEMENT_CACHE_TTL: must be between 100ms and 60s")


def load(environ: Mapping[str, str]) -> Settings:
    """The settings of API and worker. Raises ConfigurationError with every fault at once."""
    settings, faults = read(environ)
    if settings is None:
        raise ConfigurationError(faults)
    return settings


def load_database(environ: Mapping[str, str]) -> DatabaseSettings:
    """The settings of commands that only open the database. Raises as `load`."""
    settings, faults = environment.read(environ, DatabaseSettings)
    if settings is None:
        raise ConfigurationError(faults)
    return settings


def read(environ: Mapping[str, str]) -> tuple[Settings | None, list[str]]:
    """The settings, or None and the faults: for who has more faults to report with them."""
    settings, faults = environment.read(environ, Settings)
    if environ.get("EMAIL_PROVIDER") and not environ.get("EMAIL_FROM"):
        faults.append("EMAIL_FROM is not set, and EMAIL_PROVIDER is")
    if environ.get("REDIS_URL") and not (find_spec("redis") and find_spec("hiredis")):
        faults.append("REDIS_URL is set, and the extra that it needs is missing: abaxus[redis]")
    if environ.get("ASGI_SERVER") == "uvicorn" and not (
        find_spec("uvicorn") and find_spec("httptools")
    ):
        faults.append(
            "ASGI_SERVER is uvicorn, and the extra that it needs is missing: abaxus[uvicorn]"
        )
    return (None if faults else settings), faults


def plugin_names(environ: Mapping[str, str]) -> tuple[str, ...]:
    """What PLUGINS enables, for commands that need nothing else."""
    return tuple(name for name in map(str.strip, environ.get("PLUGINS", "").split(",")) if name)


def _leads_to_redis(url: str) -> bool:
    try:
        parts = urlsplit(url)
        socket = parts.scheme == "unix"
        there = parts.path if socket else parts.hostname
        databases = [value for name, value in parse_qsl(parts.query) if name == "db"]
        databases += [] if socket else [parts.path.removeprefix("/") or "0"]
        numbered = all(text.isascii() and text.isdigit() for text in databases)
        return parts.scheme in REDIS_SCHEMES and bool(there) and parts.port != 0 and numbered
    except ValueError:
        return False

"""Settings: every fault at once, each in a sentence, no secret in any."""

from datetime import timedelta

import pytest

from abaxus_core.errors import ConfigurationError
from abaxus_core.kernel import config

GOOD = {
    "DATABASE_URL": "postgresql://abaxus:hunter2@db.example/abaxus",
    "API_MASTER_KEY": "k" * 32,
}

EVERY_FAULT = r"""
LOG_FORMAT: must be one of json, text (got 'xml')
DATABASE_URL is not set
DATABASE_MAX_CONNECTIONS: must be a whole number (got 'many')
DATABASE_IDLE_TIMEOUT: must be a duration with its unit, such as 250ms, 10s, 5m, 2h or 7d (got 'x')
DATABASE_SSL_MODE: must be one of disable, require, verify-ca, verify-full (got 'prefer')
API_MASTER_KEY: must have at least 32 characters (its value is not shown)
API_MAX_BODY_SIZE: must be at most 10mb (got '11mb')
CORS_ALLOWED_ORIGINS: must be origins such as https://app.example.com (got 'https://a.example, b')
PORT: must be a whole number <= 65535 (got '70000')
SELLER_NAME: must be printable, on one line (got 'Seller\nBcc: x')
EMAIL_FROM is not set, and EMAIL_PROVIDER is
"""


def faults_of(environ):
    with pytest.raises(ConfigurationError) as refused:
        config.load(environ)
    return refused.value.faults


def test_the_documented_defaults():
    settings = config.load(GOOD)

    assert settings.database_max_connections == 25
    assert settings.database_idle_timeout == timedelta(seconds=600)
    assert settings.database_connect_timeout == timedelta(seconds=10)
    assert settings.database_ssl_mode == "require"
    assert (settings.port, settings.worker_port) == (8080, 0)
    assert settings.api_rate_limit_rpm == 6000
    assert settings.api_max_body_size == 1024 * 1024
    assert (settings.log_level, settings.log_format) == ("info", "json")
    assert settings.cors_allowed_origins == ()
    assert settings.plugins == ()
    assert settings.payment_provider is settings.email_provider is None


def test_every_fault_is_reported_at_once():
    faults = faults_of(
        {
            "DATABASE_MAX_CONNECTIONS": "many",
            "DATABASE_IDLE_TIMEOUT": "x",
            "DATABASE_SSL_MODE": "prefer",
            "PORT": "70000",
            "API_MASTER_KEY": "short-hunter2",
            "API_MAX_BODY_SIZE": "11mb",
            "LOG_FORMAT": "xml",
            "CORS_ALLOWED_ORIGINS": "https://a.example, b",
            "EMAIL_PROVIDER": "smtp",
            "SELLER_NAME": "Seller\nBcc: x",
        }
    )

    assert sorted(faults) == sorted(EVERY_FAULT.strip().splitlines())


def test_no_secret_is_shown():
    shown = repr(config.load(GOOD))
    assert "hunter2" not in shown
    assert "k" * 32 not in shown
    (fault,) = faults_of({**GOOD, "DATABASE_URL": "mysql://root:hunter2@db"})
    assert "hunter2" not in fault


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("DATABASE_IDLE_TIMEOUT", "250ms", timedelta(milliseconds=250)),
        ("DATABASE_IDLE_TIMEOUT", "10S", timedelta(seconds=10)),
        ("DATABASE_IDLE_TIMEOUT", "5m", timedelta(minutes=5)),
        ("DATABASE_IDLE_TIMEOUT", "2h", timedelta(hours=2)),
        ("DATABASE_IDLE_TIMEOUT", "7d", timedelta(days=7)),
        ("API_MAX_BODY_SIZE", "512b", 512),
        ("API_MAX_BODY_SIZE", "64kb", 65_536),
        ("API_MAX_BODY_SIZE", "10mb", 10_485_760),
        ("PLUGINS", "stripe, smtp,", ("stripe", "smtp")),
        ("CORS_ALLOWED_ORIGINS", "https://a.example,http://localhost:3000", None),
        ("CORS_ALLOWED_ORIGINS", "*", ("*",)),
        ("PORT", " 9000 ", 9000),
        ("LOG_LEVEL", "", "info"),
        ("EMAIL_FROM", "billing@seller.example", "billing@seller.example"),
    ],
)
def test_how_values_are_written(name, text, value):
    setting = getattr(config.load({**GOOD, name: text}), name.lower())
    assert value is None or setting == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DATABASE_IDLE_TIMEOUT", "0s"),
        ("DATABASE_IDLE_TIMEOUT", "-1s"),
        ("DATABASE_IDLE_TIMEOUT", "1.5s"),
        ("DATABASE_IDLE_TIMEOUT", "367d"),
        ("DATABASE_IDLE_TIMEOUT", "1w"),
        ("API_MAX_BODY_SIZE", "1"),
        ("API_MAX_BODY_SIZE", "0mb"),
        ("API_MAX_BODY_SIZE", "999999999gb"),
        ("API_RATE_LIMIT_RPM", "-1"),
        ("PORT", "http"),
        ("WORKER_CONCURRENCY", "0"),
        ("DATABASE_MAX_CONNECTIONS", "5"),
        ("ASGI_SERVER", "gunicorn"),
        ("REDIS_URL", "redis.internal:6379"),
        ("REDIS_URL", "http://redis.internal"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://redis.internal:many"),
        ("REDIS_URL", "redis://redis.internal/billing"),
        ("REDIS_URL", "unix:///run/redis.sock?db=one"),
        ("REDIS_URL", "redis://redis.internal/0?socket_timeout=5"),
        ("REDIS_URL", "redis://redis.internal/0?ssl_ca_certs=/etc/ca.pem"),
        ("ENTITLEMENT_CACHE_TTL", "99ms"),
        ("ENTITLEMENT_CACHE_TTL", "61s"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example/path"),
        ("EMAIL_FROM", "Seller <billing@seller.example>"),
        ("EMAIL_FROM", "billing@seller.example\nBcc: x@y.example"),
    ],
)
def test_what_does_not_fit_is_one_fault(name, text):
    (fault,) = faults_of({**GOOD, name: text})
    assert fault.startswith(f"{name}: must ")


@pytest.mark.parametrize(
    "url",
    [
        "redis://redis.internal",
        "rediss://abaxus:hunter2@redis.internal:6380/3?ssl_ca_certs=/etc/ca.pem",
        "unix:///run/redis.sock?db=1",
    ],
)
def test_where_a_redis_is(url):
    settings = config.load({**GOOD, "REDIS_URL": url})
    assert settings.redis_url.reveal() == url
    assert "hunter2" not in repr(settings)


def test_redis_needs_its_extra(monkeypatch):
    monkeypatch.setattr(config, "find_spec", lambda name: None)
    assert config.load(GOOD).redis_url is None
    (fault,) = faults_of({**GOOD, "REDIS_URL": "redis://redis.internal"})
    assert fault.endswith("abaxus[redis]")


def test_commands_that_only_need_the_database_ask_for_nothing_else():
    assert config.load_database({"DATABASE_URL": GOOD["DATABASE_URL"]}).database_ssl_mode
    with pytest.raises(ConfigurationError) as refused:
        config.load_database({})
    assert refused.value.faults == ["DATABASE_URL is not set"]


def test_a_server_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    assert config.load({**GOOD, "ASGI_SERVER": "uvicorn"}).asgi_server == "uvicorn"
    monkeypatch.setattr(config, "find_spec", lambda name: None if name == "httptools" else name)
    assert faults_of({**GOOD, "ASGI_SERVER": "uvicorn"}) == [
        "ASGI_SERVER is uvicorn, and the extra that it needs is missing: abaxus[uvicorn]"
    ]
    assert config.load(GOOD).asgi_server == "hypercorn"

"""A database that cannot be had at start is a sentence for the operator, not a stack of ours.

Later the same errors are a connection lost, and belong to whoever lost it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from asyncpg.exceptions import (
    CannotConnectNowError,
    ClientConfigurationError,
    InvalidAuthorizationSpecificationError,
    InvalidCatalogNameError,
    PostgresConnectionError,
    TooManyConnectionsError,
)

from abaxus_core.errors import ConfigurationError

# A wrong password is an authorization fault; no such host, a refusal, TLS or silence an OSError.
UNREACHABLE = (
    OSError,
    CannotConnectNowError,
    ClientConfigurationError,
    InvalidAuthorizationSpecificationError,
    InvalidCatalogNameError,
    PostgresConnectionError,
    TooManyConnectionsError,
)


@contextmanager
def first_contact() -> Iterator[None]:
    """Around what reaches for the database at start: raises ConfigurationError where it fails."""
    try:
        yield
    except UNREACHABLE as error:
        why = str(error) or "it does not answer in time"
        raise ConfigurationError([f"DATABASE_URL: the database cannot be used: {why}"]) from error

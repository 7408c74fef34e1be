"""Where the server is, how the connection is secured, who we are to it."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from abaxus_core.plugin.settings import HostName, Secret

Security = Literal["tls", "starttls", "none"]
PORTS: Final[dict[Security, int]] = {"tls": 465, "starttls": 587, "none": 25}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`security`: `tls` from the first byte (RFC 8314), `starttls` or nothing is sent, `none` only
    for a relay within reach of nobody else, and never with a password. `port`: by `security`.
    `ca_file`: trust these certificates instead of the system's.
    """

    host: HostName
    security: Security = "tls"
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None
    username: str | None = None
    password: Secret | None = None
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        faults = list(self._faults())
        if faults:
            raise ValueError(*faults)

    def _faults(self) -> Iterator[str]:
        if (self.username is None) != (self.password is None):
            yield "SMTP_USERNAME and SMTP_PASSWORD go together; one of them is not set"
        if self.password is not None and self.security == "none":
            yield "SMTP_SECURITY: none would send SMTP_PASSWORD in the clear"
        if self.ca_file is not None and not _holds_certificates(self.ca_file):
            yield f"SMTP_CA_FILE: {self.ca_file} holds no certificates in PEM that can be read"

    @property
    def effective_port(self) -> int:
        return self.port or PORTS[self.security]


def _holds_certificates(path: Path) -> bool:
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError):
        return False
    return True

"""Types for settings whose text is more than text: secrets, host names and sizes.

Settings, the core's and a plugin's, are a frozen msgspec Struct; each field is read from the
environment variable of its name. How each type is written: docs/configuration.md.
"""

import hmac
import re
from typing import Final, Self

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*{_LABEL}")
_TOKEN: Final = re.compile(r"[!-~]{1,4096}")


class Secret:
    """A value that shows as `***` wherever it is printed, logged or raised."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The value itself; call it where it is used, keep it nowhere."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))


class Token(Secret):
    """A secret that travels in a header: printable ASCII, no spaces."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        if not _TOKEN.fullmatch(text):
            raise ValueError("must be printable ASCII characters, without spaces")
        super().__init__(text)


class HostName(str):
    """A host by its name or its IPv4 address, without scheme or port; kept in lower case."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if not _HOST_NAME.fullmatch(text.lower()):
            raise ValueError("must be a host name such as mail.example.com")
        return super().__new__(cls, text.lower())


class ByteSize(int):
    """A number of bytes, written with its unit: `512b`, `64kb`, `1mb` (of 1024)."""

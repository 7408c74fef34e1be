"""Types for settings whose text is more than text: secrets and sizes.

Settings, the core's and a plugin's, are a frozen msgspec Struct; each field is read from the
environment variable of its name. How each type is written: docs/configuration.md.
"""

import hmac


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


class ByteSize(int):
    """A number of bytes, written with its unit: `512b`, `64kb`, `1mb` (of 1024)."""

"""The headers of a request, as the server read them; text only where somebody looks."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar, overload

D = TypeVar("D")

_ENCODING = "latin-1"


class Headers(Mapping[str, str]):
    """By name in lower case; of a header that was sent several times, the last."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._raw = dict(raw)

    @overload
    def get(self, name: str, /) -> str | None: ...
    @overload
    def get(self, name: str, /, default: str | D) -> str | D: ...
    def get(self, name: str, /, default: str | D | None = None) -> str | D | None:
        """Without the exception that Mapping's raises inside for what is not there."""
        value = self._raw.get(name.encode(_ENCODING))
        return default if value is None else value.decode(_ENCODING)

    def __getitem__(self, name: str) -> str:
        return self._raw[name.encode(_ENCODING)].decode(_ENCODING)

    def __iter__(self) -> Iterator[str]:
        return (name.decode(_ENCODING) for name in self._raw)

    def __len__(self) -> int:
        return len(self._raw)

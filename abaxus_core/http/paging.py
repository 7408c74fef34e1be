"""Keyset pages: a list query, its answer, and the opaque cursor between two pages.

A repository reads `limit + 1` rows after the cursor; `page` cuts and says where to go on.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

import msgspec

from abaxus_core.errors import InvalidInput

T = TypeVar("T")

LIMIT_DEFAULT = 50
LIMIT_MAX = 500
CURSOR_LENGTH_MAX = 1_000

Limit = Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)]
Cursor = Annotated[str, msgspec.Meta(min_length=1, max_length=CURSOR_LENGTH_MAX)]


class Paged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of a list; lists with filters extend it."""

    limit: Limit = LIMIT_DEFAULT
    cursor: Cursor | None = None


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """`next_cursor` is null on the last page."""

    data: list[T]
    next_cursor: str | None


def page(rows: Sequence[T], limit: int, position: Callable[[T], tuple[object, ...]]) -> Page[T]:
    """The first `limit` of `rows`; the cursor after them when there are more.

    `position` gives the values that order a row, last one unique.
    """
    if len(rows) <= limit:
        return Page(data=list(rows), next_cursor=None)
    shown = list(rows[:limit])
    return Page(data=shown, next_cursor=encode_cursor(*position(shown[-1])))


def encode_cursor(*values: object) -> str:
    """An opaque cursor that holds `values` (text, numbers, instants)."""
    return base64.urlsafe_b64encode(msgspec.json.encode(values)).rstrip(b"=").decode()


def read_cursor(text: str, kind: type[T]) -> T:
    """The values of a cursor as `kind`, a tuple type such as `tuple[datetime, str]`.

    InvalidInput on `cursor` when it is not one of ours, or one of another list.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        value = msgspec.json.decode(raw, type=kind)
        if b"\\u0000" in raw:
            raise InvalidInput("is not a cursor of this list", field="cursor")
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise InvalidInput("is not a cursor of this list", field="cursor") from error
    return value

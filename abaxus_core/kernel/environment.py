"""Environment variables into a frozen Struct, the core's settings and a plugin's alike.

Field `max_connections` under the prefix `DATABASE_` is the variable `DATABASE_MAX_CONNECTIONS`.
A variable that is empty counts as not set. A type of one's own over `str`, `Secret`, `ByteSize` or
a path takes the text and may refuse it with a ValueError; so may the Struct's `__post_init__` what
does not go together, a sentence per argument. How each type is written: docs/configuration.md.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Final, TypeVar, Union, get_args, get_origin

import msgspec

from abaxus_core.plugin.settings import ByteSize, Secret

S = TypeVar("S", bound=msgspec.Struct)

DURATION_MAX: Final = timedelta(days=366)
SIZE_MAX: Final = 1 << 40

_DURATION_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_SIZE_UNITS: Final = {"b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}
_AMOUNT_AND_UNIT: Final = re.compile(r"([0-9]{1,9})([a-z]{1,2})")


def read(
    environ: Mapping[str, str], settings: type[S], *, prefix: str = ""
) -> tuple[S | None, list[str]]:
    """The settings, or None and every fault found, a sentence each; secrets are not in them."""
    values: dict[str, object] = {}
    faults: list[str] = []
    for field in msgspec.structs.fields(settings):
        name = prefix + field.name.upper()
        text = environ.get(name, "").strip()
        if not text:
            if field.required:
                faults.append(f"{name} is not set")
            continue
        try:
            values[field.name] = _decode(field.type, text)
        except ValueError as error:
            shown = "its value is not shown" if _is_secret(field.type) else f"got {text[:80]!r}"
            faults.append(f"{name}: {error} ({shown})")
    if faults:
        return None, faults
    try:
        return settings(**values), []
    except ValueError as error:
        return None, [str(fault) for fault in error.args]


def variables(settings: type[msgspec.Struct], *, prefix: str = "") -> list[str]:
    """The names `read` looks at, in the order of the fields."""
    return [prefix + field.name.upper() for field in msgspec.structs.fields(settings)]


def _decode(kind: object, text: str) -> object:
    kind = _without_none(kind)
    if get_origin(kind) is tuple:
        pieces = (piece.strip() for piece in text.split(","))
        return tuple(_decode(get_args(kind)[0], piece) for piece in pieces if piece)
    if kind is timedelta:
        return _duration(text)
    if isinstance(kind, type) and issubclass(kind, ByteSize):
        return kind(_size(text))
    if isinstance(kind, type) and issubclass(kind, (Secret, PurePath, str)):
        return kind(text)
    return _plain(kind, text)


def _plain(kind: object, text: str) -> object:
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(_sentence(kind, str(error))) from error


def _sentence(kind: object, complaint: str) -> str:
    if complaint.startswith("Invalid enum value"):
        return f"must be one of {', '.join(str(choice) for choice in get_args(kind))}"
    wanted = complaint.partition(", got")[0].replace("Expected ", "must be ")
    return wanted.replace("`int`", "a whole number").replace("`", "")


def _without_none(kind: object) -> object:
    if get_origin(kind) in (Union, UnionType):
        kinds = [part for part in get_args(kind) if part is not NoneType]
        return kinds[0] if len(kinds) == 1 else kind
    return kind


def _is_secret(kind: object) -> bool:
    kind = _without_none(kind)
    return isinstance(kind, type) and issubclass(kind, Secret)


def _duration(text: str) -> timedelta:
    """`250ms`, `10s`, `5m`, `2h`, `7d`."""
    found = _AMOUNT_AND_UNIT.fullmatch(text.lower())
    if found is None or found[2] not in _DURATION_UNITS:
        raise ValueError("must be a duration with its unit, such as 250ms, 10s, 5m, 2h or 7d")
    unit = _DURATION_UNITS[found[2]]
    if not 0 < int(found[1]) <= DURATION_MAX // unit:
        raise ValueError("must be a duration above zero and of at most 366d")
    return int(found[1]) * unit


def _size(text: str) -> int:
    """`512b`, `64kb`, `1mb`, in units of 1024."""
    found = _AMOUNT_AND_UNIT.fullmatch(text.lower())
    if found is None or found[2] not in _SIZE_UNITS:
        raise ValueError("must be a size with its unit, such as 512b, 64kb or 1mb")
    size = int(found[1]) * _SIZE_UNITS[found[2]]
    if not 0 < size <= SIZE_MAX:
        raise ValueError("must be a size above zero and of at most 1024gb")
    return size

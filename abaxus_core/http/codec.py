"""Between bytes and typed values, exactly: no number ever passes through a binary float.

Reading: JSON text → tree (`parse`) → Struct (`typed`), every refusal with the path of its field.
Writing: Struct → bytes (`encode`), decimals as plain strings, instants in UTC.
What a type asks of decimals, instants and text is in shapes.py; sizes of bodies in body.py.
"""

import json
import re
from collections.abc import Hashable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final, TypeVar, cast

import msgspec

from abaxus_core.domain.decimals import plain
from abaxus_core.errors import InvalidInput, MalformedBody
from abaxus_core.http.shapes import (
    ONE_BY_ONE,
    Fault,
    NotFinite,
    Repeated,
    Shape,
    free,
    holds_decimals,
    shape_of,
)

T = TypeVar("T")

# Python reads an integer in quadratic time; longer ones become decimals, which are bounded later.
INTEGER_DIGITS_MAX = 40

CALLER_ID_PATTERN = r"^[A-Za-z0-9_.:-]{1,128}\Z"
CallerId = Annotated[str, msgspec.Meta(pattern=CALLER_ID_PATTERN)]
"""The id of a customer or a plan, chosen by the caller."""
DayOrInstant = Annotated[str, msgspec.Meta(max_length=64)]
"""A day such as 2026-04-30, or an RFC 3339 timestamp."""
IdempotencyKey = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Item = Annotated[Any, msgspec.Meta(extra=ONE_BY_ONE)]
"""A member of a batch, read one by one with `typed`, so that one bad member fails alone."""

_WHERE = re.compile(r"(?P<what>.*?)(?: - at (?:`key` in )?`\$(?P<path>[^`]*)`)?", re.DOTALL)
_NAMED = re.compile(
    r"Object (?P<what>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL
)


def parse(raw: bytes) -> Any:
    """The JSON tree in `raw`, decimals as Decimal. Raises MalformedBody when it is not JSON."""
    try:
        return _decoder.decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MalformedBody(f"the body is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise MalformedBody(
            f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except RecursionError as error:
        raise MalformedBody("the body is nested too deeply") from error
    except InvalidOperation as error:
        raise MalformedBody("a number in the body has an exponent out of range") from error


def typed(wire_type: type[T], tree: Any, *, path: str = "") -> T:
    """`tree` as a `wire_type`; instants come out in UTC. InvalidInput carries the field's path."""
    return _converted(wire_type, tree, path=path, strict=True)


def typed_query(wire_type: type[T], pairs: list[tuple[str, str]]) -> T:
    """The query string as a `wire_type`; a repeated or unknown name is refused by name."""
    tree: dict[str, Any] = {}
    for name, value in pairs:
        if name in tree:
            raise InvalidInput("stands more than once in the query", field=name)
        tree[name] = value
    return _converted(wire_type, tree, path="", strict=False)


def check_free(tree: Any) -> None:
    """Refuse what no JSON of ours may contain, before a rewrite moves its parts about."""
    _walk(free, tree, "")


def encode(value: object) -> bytes:
    """`value` as JSON; decimals as plain strings without trailing zeros."""
    if isinstance(value, msgspec.Struct) and not holds_decimals(type(value)):
        return msgspec.json.encode(value)
    return msgspec.json.encode(_plain(msgspec.to_builtins(value, builtin_types=(Decimal,))))


def canonical(tree: Any) -> bytes:
    """One spelling for equal trees: members sorted, whatever the order and space they came in."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), default=str).encode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) == len(pairs):
        return tree
    names = [name for name, _ in pairs]
    repeated = Repeated(tree)
    repeated.name = next(name for name in names if names.count(name) > 1)
    return repeated


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= INTEGER_DIGITS_MAX else Decimal(text)


_decoder: Final = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=Decimal,
    parse_constant=lambda _name: NotFinite(),
)


def _converted(wire_type: type[T], tree: Any, *, path: str, strict: bool) -> T:
    tree = _walk(shape_of(cast("Hashable", wire_type)), tree, path)
    try:
        return msgspec.convert(tree, wire_type, strict=strict)
    except msgspec.ValidationError as error:
        raise _explained(str(error), path) from error
    except UnicodeEncodeError as error:
        # A lone surrogate where no text of ours is: in an unknown name, or instead of a choice.
        _walk(free, tree, path)
        raise InvalidInput("must not contain a lone surrogate", field=path or None) from error


def _walk(shape: Shape, tree: Any, path: str) -> Any:
    try:
        return shape(tree)
    except Fault as fault:
        raise InvalidInput(fault.message, field=_path(path, fault.path)) from fault


def _path(prefix: str, inwards: list[str | int]) -> str | None:
    path = prefix
    for step in reversed(inwards):
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path.removeprefix(".") or None


def _explained(message: str, prefix: str) -> InvalidInput:
    """msgspec's sentence and path as ours: `$.tiers[1].up_to` → `tiers[1].up_to`."""
    found = _WHERE.fullmatch(message)
    assert found is not None, "every message has a beginning"
    path = (prefix + (found["path"] or "").split("[...]")[0]).removeprefix(".")
    if named := _NAMED.fullmatch(found["what"]):
        field = f"{path}.{named['name']}".removeprefix(".")
        if named["what"] == "missing required":
            return InvalidInput("is required", field=field)
        return InvalidInput("there is no such field here", code="UNKNOWN_FIELD", field=field)
    what = _without_pattern(found["what"]).replace("`", "")
    return InvalidInput(what[:1].lower() + what[1:], field=path or None)


def _without_pattern(what: str) -> str:
    """A person reads this, so a regular expression is said in words."""
    if " matching regex " not in what:
        return what
    if repr(CALLER_ID_PATTERN) in what:
        return "must be 1 to 128 characters of A-Z a-z 0-9 _ - . :"
    return "is not of the form that this field takes"


def _plain(tree: Any) -> Any:
    if isinstance(tree, Decimal):
        return plain(tree)
    if isinstance(tree, Mapping):
        return {name: _plain(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_plain(value) for value in tree]
    return tree

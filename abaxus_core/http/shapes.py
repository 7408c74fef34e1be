"""What a type of the wire asks of a parsed JSON tree beyond its shape.

`shape_of(type)` compiles, once per type, a function that walks the tree where the type looks:
decimals are read exactly and bounded, instants become aware UTC, text must be storable, a name
may stand only once in an object. Shape itself (missing, unknown, wrong type) is msgspec's work,
in codec.py, which also turns a `Fault` into the error that the caller sees.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import inspect

DECIMALS_MAX = 10
WHOLE_DIGITS_MAX = 28
INTEGER_MAX = 2**63 - 1
# Free-form numbers reach as far as a double does: beyond, PostgreSQL's jsonb refuses them.
FREE_EXPONENT_MAX = 308
FREE_DEPTH_MAX = 32
# Marks what a handler reads later, member by member.
ONE_BY_ONE = {"checked": "one by one"}

_PLAIN_DECIMAL = re.compile(r"-?[0-9]{1,60}(\.[0-9]{1,60})?")
_AwareDatetime = Annotated[datetime, msgspec.Meta(tz=True)]

Shape: TypeAlias = Callable[[Any], Any]


class Fault(Exception):
    """Something in the tree will not do; the path grows as the fault leaves the tree."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[str | int] = []


class Repeated(dict[str, Any]):
    """A JSON object in which a name stands twice; JSON calls its meaning undefined."""

    name: str


class NotFinite:
    """Where the text said NaN, Infinity or -Infinity."""

    def __str__(self) -> str:
        return "NaN"


@cache
def shape_of(wire_type: Any) -> Shape:
    """The walk for `wire_type`: returns the tree to convert, raises Fault."""
    return _shape(inspect.type_info(wire_type))


@cache
def holds_decimals(wire_type: Any) -> bool:
    """Whether a value of this type may contain a Decimal."""
    spelled = repr(inspect.type_info(wire_type))
    return any(kind in spelled for kind in ("DecimalType", "AnyType", "CustomType"))


def _shape(info: inspect.Type) -> Shape:
    match info:
        case inspect.Metadata():
            return _unchanged if info.extra == ONE_BY_ONE else _shape(info.type)
        case inspect.StructType():
            return _object({field.encode_name: _shape(field.type) for field in info.fields})
        case inspect.DictType():
            return _mapping(_shape(info.value_type))
        case inspect.ListType() | inspect.VarTupleType():
            return _array(_shape(info.item_type))
        case inspect.UnionType():
            return _union(info)
        case inspect.FloatType():
            raise TypeError("a float has no place on the wire")
    return _SCALARS.get(type(info), _unchanged)


def _object(fields: Mapping[str, Shape]) -> Shape:
    checked = [(name, shape) for name, shape in fields.items() if shape is not _unchanged]

    def walk(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        _once_each(value)
        for name, shape in checked:
            if name in value:
                try:
                    value[name] = shape(value[name])
                except Fault as fault:
                    fault.path.append(name)
                    raise
        return value

    return walk


def _mapping(item: Shape) -> Shape:
    def walk(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        _once_each(value)
        for name in value:
            try:
                text(name)
                value[name] = item(value[name])
            except Fault as fault:
                fault.path.append(name)
                raise
        return value

    return walk


def _array(item: Shape) -> Shape:
    def walk(value: Any) -> Any:
        if isinstance(value, list):
            for index, each in enumerate(value):
                try:
                    value[index] = item(each)
                except Fault as fault:
                    fault.path.append(index)
                    raise
        return value

    return walk


def _union(info: inspect.UnionType) -> Shape:
    """msgspec allows one text-like, one number-like and one array-like member in a union."""
    by_kind: dict[type, Shape] = {}
    tagged: dict[Any, Shape] = {}
    for member in info.types:
        shape = _shape(member)
        if isinstance(member, inspect.StructType) and member.tag_field is not None:
            tagged[member.tag] = shape
            by_kind[dict] = _by_tag(member.tag_field, tagged)
        else:
            by_kind |= dict.fromkeys(_KINDS.get(type(member), ()), shape)

    def walk(value: Any) -> Any:
        kind = dict if isinstance(value, dict) else type(value)
        return by_kind.get(kind, _scalar)(value)

    return walk


def _by_tag(tag_field: str, tagged: Mapping[Any, Shape]) -> Shape:
    def walk(value: Any) -> Any:
        _once_each(value)
        tag = value.get(tag_field)
        shape = tagged.get(tag) if isinstance(tag, str | int) else None
        return shape(value) if shape else value

    return walk


def _once_each(value: dict[str, Any]) -> None:
    if isinstance(value, Repeated):
        fault = Fault("stands more than once in its object")
        fault.path.append(value.name)
        raise fault


def _unchanged(value: Any) -> Any:
    return value


def text(value: Any) -> Any:
    """The same; Fault for text that PostgreSQL and UTF-8 cannot hold."""
    if isinstance(value, str):
        if "\x00" in value:
            raise Fault("must not contain a NUL character")
        if not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
            raise Fault("must not contain a lone surrogate")
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, NotFinite):
        raise Fault("must be a finite number")
    return value


def _decimal(value: Any) -> Any:
    if isinstance(value, str):
        if not _PLAIN_DECIMAL.fullmatch(value):
            raise Fault('must be a number or a decimal string such as "12.50"')
        value = Decimal(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    elif not isinstance(value, Decimal):
        return _scalar(value)
    return _bounded(value)


def _bounded(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int), "the parser makes no NaN"
    if exponent < -DECIMALS_MAX:
        raise Fault(f"must have at most {DECIMALS_MAX} decimals")
    if value.adjusted() >= WHOLE_DIGITS_MAX:
        raise Fault(f"must have at most {WHOLE_DIGITS_MAX} digits before the point")
    return Decimal(int(value)) if exponent > 0 else value


def _integer(value: Any) -> Any:
    if isinstance(value, Decimal) and value.as_tuple().exponent == 0:
        raise Fault("is too large")
    if isinstance(value, int) and not -INTEGER_MAX <= value <= INTEGER_MAX:
        raise Fault("is too large")
    return _scalar(value)


def _instant(value: Any) -> Any:
    if not isinstance(value, str):
        return _scalar(value)
    try:
        return msgspec.convert(value, _AwareDatetime).astimezone(UTC)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise Fault(
            'must be an RFC 3339 timestamp with an offset, such as "2026-04-01T00:00:00Z"'
        ) from error
    except OverflowError as error:
        raise Fault("must lie in the years 1 to 9999, UTC") from error


def free(value: Any, depth: int = 0) -> Any:
    """The same tree of free-form JSON, known to fit into a jsonb column; Fault otherwise."""
    if depth > FREE_DEPTH_MAX:
        raise Fault(f"is nested deeper than {FREE_DEPTH_MAX} levels")
    if isinstance(value, dict):
        return _mapping(lambda item: free(item, depth + 1))(value)
    if isinstance(value, list):
        return _array(lambda item: free(item, depth + 1))(value)
    if isinstance(value, Decimal) and abs(value.adjusted()) > FREE_EXPONENT_MAX:
        raise Fault("is a number out of range")
    return text(value)


_SCALARS: Mapping[type, Shape] = {
    inspect.StrType: text,
    inspect.DecimalType: _decimal,
    inspect.IntType: _integer,
    inspect.DateTimeType: _instant,
    inspect.AnyType: free,
    inspect.CustomType: free,
}
_KINDS: Mapping[type, tuple[type, ...]] = {
    inspect.StrType: (str,),
    inspect.DecimalType: (str, int, Decimal),
    inspect.IntType: (int, Decimal),
    inspect.DateTimeType: (str,),
    inspect.StructType: (dict,),
    inspect.DictType: (dict,),
    inspect.ListType: (list,),
    inspect.VarTupleType: (list,),
}

"""JSON Schema (2020-12, as OpenAPI 3.1 has it) of the Structs of the wire.

Our own rather than msgspec's because ours says what the codec does: a decimal is read from a
number or a string and answered as a string, an instant always has an offset.
"""

from typing import Any, Literal, TypeAlias, get_args, get_origin

import msgspec
from msgspec import inspect

from abaxus_core.http.shapes import DECIMALS_MAX, WHOLE_DIGITS_MAX, holds_decimals

Direction: TypeAlias = Literal["in", "out"]
Schema: TypeAlias = dict[str, Any]

DECIMAL_PATTERN = rf"^-?[0-9]{{1,{WHOLE_DIGITS_MAX}}}(\.[0-9]{{1,{DECIMALS_MAX}}})?$"
DECIMAL_OUT: Schema = {"type": "string", "format": "decimal", "pattern": DECIMAL_PATTERN}
_DECIMAL_IN: Schema = {"anyOf": [DECIMAL_OUT, {"type": "number"}]}


class Schemas:
    """Collects the named Structs that it meets; one component each, by the Struct's name."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self._names: dict[tuple[Any, Direction], str] = {}

    def of(self, wire_type: Any, direction: Direction) -> Schema:
        """The schema of the type; Structs become references to components."""
        return self._schema(inspect.type_info(wire_type), direction)

    def fields(self, struct: Any) -> list[tuple[inspect.Field, Schema]]:
        """The fields of a query Struct with the schema of each."""
        info = inspect.type_info(struct)
        assert isinstance(info, inspect.StructType), "a query is a Struct"
        return [(field, self._schema(field.type, "in")) for field in info.fields]

    def _schema(self, info: inspect.Type, direction: Direction) -> Schema:
        match info:
            case inspect.Metadata():
                return self._schema(info.type, direction) | (info.extra_json_schema or {})
            case inspect.StructType():
                return self._reference(info, direction)
            case inspect.UnionType():
                return self._union(info, direction)
            case inspect.ListType() | inspect.VarTupleType():
                items = self._schema(info.item_type, direction)
                return {"type": "array", "items": items} | _bounds(info, "Items")
            case inspect.DictType():
                values = self._schema(info.value_type, direction)
                return {"type": "object", "additionalProperties": values} | _bounds(
                    info, "Properties"
                )
        return _scalar(info, direction)

    def _union(self, info: inspect.UnionType, direction: Direction) -> Schema:
        members = [self._schema(member, direction) for member in info.types]
        flat: list[Schema] = []
        for member in members:
            flat.extend(member["anyOf"] if set(member) == {"anyOf"} else [member])
        return {"anyOf": flat}

    def _reference(self, info: inspect.StructType, direction: Direction) -> Schema:
        key = (info.cls, direction)
        if key not in self._names:
            other: Direction = "in" if direction == "out" else "out"
            if (info.cls, other) in self._names and not _differs(info):
                self._names[key] = self._names[info.cls, other]
            else:
                name = self._names[key] = self._free_name(info.cls)
                self.components[name] = {}
                self.components[name] = self._object(info, direction)
        return {"$ref": f"#/components/schemas/{self._names[key]}"}

    def _free_name(self, cls: Any) -> str:
        name = _name(cls)
        if name not in self.components:
            return name
        module = (get_origin(cls) or cls).__module__.rpartition(".")[2]
        longer = "".join(part.title() for part in module.split("_")) + name
        return longer if longer not in self.components else f"{longer}Input"

    def _object(self, info: inspect.StructType, direction: Direction) -> Schema:
        properties: dict[str, Schema] = {}
        if info.tag_field is not None:
            properties[info.tag_field] = {"const": info.tag}
        required = list(properties)
        for field in info.fields:
            properties[field.encode_name] = self._field(field, direction)
            if field.required or (direction == "out" and not _may_be_left_out(field)):
                required.append(field.encode_name)
        schema: Schema = {"type": "object", "properties": properties, "required": required}
        if info.forbid_unknown_fields:
            schema["additionalProperties"] = False
        if documented := _description(info.cls):
            schema["description"] = documented
        return schema

    def _field(self, field: inspect.Field, direction: Direction) -> Schema:
        schema = self._schema(field.type, direction)
        if direction == "in" and not field.required and field.default is not msgspec.NODEFAULT:
            default = msgspec.to_builtins(field.default)
            if default is not None:
                schema = schema | {"default": default}
        return schema


def _scalar(info: inspect.Type, direction: Direction) -> Schema:
    match info:
        case inspect.StrType():
            pattern = {"pattern": info.pattern.replace(r"\Z", "$")} if info.pattern else {}
            return {"type": "string"} | _bounds(info, "Length") | pattern
        case inspect.IntType():
            numbers = {"minimum": info.ge, "maximum": info.le, "exclusiveMinimum": info.gt}
            return {"type": "integer"} | {name: n for name, n in numbers.items() if n is not None}
        case inspect.DecimalType():
            return DECIMAL_OUT if direction == "out" else _DECIMAL_IN
        case inspect.LiteralType():
            return {"enum": list(info.values)}
        case inspect.EnumType():
            return {"enum": [member.value for member in info.cls]}
    return dict(_SCALARS[type(info)])


_SCALARS: dict[type, Schema] = {
    inspect.BoolType: {"type": "boolean"},
    inspect.NoneType: {"type": "null"},
    inspect.DateTimeType: {"type": "string", "format": "date-time"},
    inspect.DateType: {"type": "string", "format": "date"},
    inspect.UUIDType: {"type": "string", "format": "uuid"},
    inspect.AnyType: {},
    inspect.RawType: {},
    inspect.CustomType: {},
}


def _bounds(info: Any, noun: str) -> Schema:
    bounds = {f"min{noun}": info.min_length, f"max{noun}": info.max_length}
    return {name: bound for name, bound in bounds.items() if bound is not None}


def _differs(info: inspect.StructType) -> bool:
    """Whether reading and answering it are two things: decimals, or fields with defaults."""
    return holds_decimals(info.cls) or any(not field.required for field in info.fields)


def _may_be_left_out(field: inspect.Field) -> bool:
    """Whether an answer may lack the field: one that can be UNSET, which has no default."""
    nothing = msgspec.NODEFAULT
    return not field.required and field.default is nothing and field.default_factory is nothing


def _name(cls: Any) -> str:
    origin = get_origin(cls)
    if origin is None:
        return str(cls.__name__)
    return f"{origin.__name__}Of{''.join(_name(argument) for argument in get_args(cls))}"


def _description(cls: Any) -> str:
    written = (get_origin(cls) or cls).__doc__ or ""
    return " ".join(written.split())

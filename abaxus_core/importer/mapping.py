"""Which column of a row, or member of a JSON object, becomes which field of an event.

Flags say it: `--column FIELD=COLUMN`, `--constant FIELD=VALUE`, `--property NAME[=COLUMN]`. What
they leave unsaid comes from the column of the field's own name.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from abaxus_core.errors import InvalidInput

FIELDS_NEEDED: Final = ("customer_id", "metric_key", "value", "timestamp", "idempotency_key")
FIELDS: Final = (*FIELDS_NEEDED, "subscription_id")
PROPERTIES: Final = "properties"
PROPERTY_PREFIX: Final = "properties."
COLUMNS_SHOWN_MAX: Final = 20

_encoder = msgspec.json.Encoder()
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_members_or_null = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)


class Unmapped(InvalidInput):
    """A record lacks what a flag promises of it."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The column that a field comes from; `flag` is the one that says so, empty when none does."""

    column: str
    flag: str = ""

    def described(self) -> str:
        return f"{self.column!r} ({self.flag})" if self.flag else repr(self.column)


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """What the flags say, by field; a property's field is `properties.NAME`."""

    columns: dict[str, Origin] = {}
    constants: dict[str, str] = {}

    @property
    def given(self) -> bool:
        return bool(self.columns or self.constants)

    def origins(self) -> dict[str, Origin]:
        """Where each field comes from that is no constant, itself where no flag says otherwise."""
        own = {name: Origin(column=name) for name in FIELDS if name not in self.constants}
        return own | self.columns


AS_NAMED: Final = Mapping()


def parse_mapping(
    *, columns: Sequence[str], constants: Sequence[str], properties: Sequence[str]
) -> Mapping:
    """The flags as given. Raises InvalidInput, naming the flag that is wrong."""
    picked: dict[str, Origin] = {}
    fixed: dict[str, str] = {}
    for said in columns:
        flag = f"--column {said}"
        name, column = _pair(flag, said)
        _check_field(flag, name, taken=picked)
        picked[name] = Origin(column=column, flag=flag)
    for said in properties:
        flag = f"--property {said}"
        name, column = _pair(flag, said if "=" in said else f"{said}={said}")
        _check_field(flag, PROPERTY_PREFIX + name, taken=picked)
        picked[PROPERTY_PREFIX + name] = Origin(column=column, flag=flag)
    for said in constants:
        flag = f"--constant {said}"
        name, value = _pair(flag, said)
        _check_field(flag, name, taken=(*picked, *fixed))
        fixed[name] = value
    return Mapping(columns=picked, constants=fixed)


def _pair(flag: str, said: str) -> tuple[str, str]:
    name, _, value = said.partition("=")
    if not name or not value:
        raise InvalidInput(f"{flag}: must have the form NAME=VALUE, neither empty")
    return name, value


def _check_field(flag: str, name: str, *, taken: Iterable[str]) -> None:
    if name not in FIELDS and not _is_property(name):
        raise InvalidInput(
            f"{flag}: there is no field {name!r}; the fields are {', '.join(FIELDS)} and "
            "properties.NAME"
        )
    if name in taken:
        raise InvalidInput(f"{flag}: another flag gives {name} already")


def _is_property(name: str) -> bool:
    return name.startswith(PROPERTY_PREFIX) and name != PROPERTY_PREFIX


class Rows:
    """Makes events of the rows under one header; `left_aside` are the columns not used."""

    def __init__(self, mapping: Mapping, header: Sequence[str]) -> None:
        origins = _present(mapping, header)
        self.width = len(header)
        self.left_aside = _left_aside(mapping, origins, header)
        self._fields = [
            (name, header.index(origin.column))
            for name, origin in origins.items()
            if not name.startswith(PROPERTY_PREFIX)
        ]
        self._properties = [
            (name.removeprefix(PROPERTY_PREFIX), header.index(origin.column))
            for name, origin in origins.items()
            if name.startswith(PROPERTY_PREFIX)
        ]
        self._constants, self._constant_properties = _parted(mapping.constants)

    def event_of(self, cells: Sequence[str]) -> bytes:
        """The event of a row of `width` cells. Values stay text, which the API reads exactly."""
        event: dict[str, object] = {
            name: cells[index] for name, index in self._fields if cells[index]
        }
        event |= self._constants
        properties = {name: cells[index] for name, index in self._properties if cells[index]}
        properties |= self._constant_properties
        if properties:
            event[PROPERTIES] = properties
        return _encoder.encode(event)


class Objects:
    """Makes events of JSON objects; no number in them is read, so that none changes."""

    def __init__(self, mapping: Mapping) -> None:
        origins = mapping.origins()
        self._fields = {
            name: origin for name, origin in origins.items() if not name.startswith(PROPERTY_PREFIX)
        }
        self._properties = {
            name.removeprefix(PROPERTY_PREFIX): origin.column
            for name, origin in origins.items()
            if name.startswith(PROPERTY_PREFIX)
        }
        self._constants, self._constant_properties = _parted(mapping.constants)

    def event_of(self, line: bytes) -> bytes:
        """The event of a line. Raises Unmapped, and MsgspecError for what is no JSON object."""
        members = _members.decode(line)
        event: dict[str, object] = {}
        for name, origin in self._fields.items():
            if origin.column in members:
                event[name] = members[origin.column]
            elif origin.flag and name in FIELDS_NEEDED:
                raise Unmapped(f"has no member {origin.described()}", field=name)
        event |= self._constants
        properties = self._properties_of(members)
        if properties is not None:
            event[PROPERTIES] = properties
        return _encoder.encode(event)

    def _properties_of(self, members: dict[str, msgspec.Raw]) -> object:
        own = members.get(PROPERTIES)
        added: dict[str, object] = {
            name: members[column] for name, column in self._properties.items() if column in members
        }
        added |= self._constant_properties
        if not added:
            return own
        try:
            return added if own is None else (_members_or_null.decode(own) or {}) | added
        except msgspec.MsgspecError as error:
            raise Unmapped("is not an object, and flags add to it", field=PROPERTIES) from error


def _present(mapping: Mapping, header: Sequence[str]) -> dict[str, Origin]:
    """The origins that the header has; InvalidInput for one that it ought to have."""
    named = {
        name: Origin(column=name)
        for name in header
        if name.startswith(PROPERTY_PREFIX) and name not in mapping.constants
    }
    origins = named | mapping.origins()
    for origin in origins.values():
        _check_column(origin, header)
    missing = [
        name
        for name in FIELDS_NEEDED
        if name not in mapping.constants and origins[name].column not in header
    ]
    if missing:
        raise InvalidInput(
            f"the header lacks {', '.join(missing)}; it has {_some(header)}. Name a field's column "
            "with --column FIELD=COLUMN, or one value for all with --constant FIELD=VALUE"
        )
    return {name: origin for name, origin in origins.items() if origin.column in header}


def _check_column(origin: Origin, header: Sequence[str]) -> None:
    count = header.count(origin.column)
    if count > 1:
        raise InvalidInput(f"column {origin.described()} stands more than once in the header")
    if not count and origin.flag:
        raise InvalidInput(
            f"there is no column {origin.described()}; the header has {_some(header)}"
        )


def _left_aside(
    mapping: Mapping, origins: dict[str, Origin], header: Sequence[str]
) -> tuple[str, ...]:
    """Columns that no field comes from: a mistake where no flag says what is wanted."""
    used = {origin.column for origin in origins.values()}
    unused = tuple(name for name in header if name not in used)
    if unused and not mapping.given:
        raise InvalidInput(
            f"there is no field {unused[0]!r}; a property's column is called properties.NAME, or "
            f"named with --property {unused[0]}"
        )
    return unused


def _parted(constants: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The fields' own, and those of properties by their names."""
    fields = {
        name: value for name, value in constants.items() if not name.startswith(PROPERTY_PREFIX)
    }
    properties = {
        name.removeprefix(PROPERTY_PREFIX): value
        for name, value in constants.items()
        if name.startswith(PROPERTY_PREFIX)
    }
    return fields, properties


def _some(header: Sequence[str]) -> str:
    shown = ", ".join(header[:COLUMNS_SHOWN_MAX])
    return f"{shown}, …" if len(header) > COLUMNS_SHOWN_MAX else shown or "no columns"

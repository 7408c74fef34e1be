"""Named statements from `sql/queries/*.sql`, bound at import: a wrong name or kind fails at start.

A statement is headed by its name and kind, its parameters and a line of why:

    -- name: get :maybe
    -- params: $1 customer_id text
    -- why: one customer, by the caller's id
    SELECT … WHERE customer_id = $1;

Kinds: `:one` a row that must be there, `:maybe` a row or None, `:many` a list, `:exec` the number
of rows affected. `-- params:` may be repeated where one line is too short. The statements
themselves, and turning rows into Structs, are the repositories' business.
"""

import re
from collections.abc import AsyncIterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import msgspec

from abaxus_core.errors import ConfigurationError, InvariantBroken

Record = asyncpg.Record

_PACKAGE = Path(__file__).resolve().parent.parent
_NAME = re.compile(r"^-- name: (?P<name>[a-z][a-z0-9_]*) :(?P<kind>one|maybe|many|exec)$")
_PARAMS = re.compile(r"^-- params: (?P<params>\$.+)$")
_PARAM = re.compile(r"^\$(?P<position>\d+) (?P<name>[a-z][a-z0-9_]*) (?P<type>\S.*)$")
_WHY = re.compile(r"^-- why: (?P<why>\S.*)$")


class Connection(Protocol):
    """What of asyncpg's connection the product uses; a pooled one and a plain one both fit."""

    async def execute(self, query: str, *args: object) -> str: ...

    async def fetch(self, query: str, *args: object) -> list[Record]: ...

    async def fetchrow(self, query: str, *args: object) -> Record | None: ...

    async def fetchval(self, query: str, *args: object) -> Any: ...

    async def copy_to_table(
        self,
        table_name: str,
        *,
        source: AsyncIterable[bytes],
        columns: Sequence[str],
        format: str,  # noqa: A002 - asyncpg's name
    ) -> str: ...

    def transaction(self, *, isolation: str | None = None) -> AbstractAsyncContextManager[Any]: ...


class Param(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    type: str


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """One statement as the file has it; `kind` is one, maybe, many or exec."""

    name: str
    kind: str
    params: tuple[Param, ...]
    why: str
    text: str


def folder() -> Path:
    """Where the `.sql` files are: inside the wheel, or beside the package in a checkout."""
    for candidate in (_PACKAGE / "_sql", _PACKAGE.parent / "sql"):
        if candidate.is_dir():
            return candidate
    raise ConfigurationError([f"the SQL files of abaxus are missing: neither in nor by {_PACKAGE}"])


def load(aggregate: str) -> dict[str, Query]:
    """The statements of `queries/<aggregate>.sql` by name."""
    path = folder() / "queries" / f"{aggregate}.sql"
    found: dict[str, Query] = {}
    for lines in _sections(path):
        query = _parse(lines, path)
        if query.name in found:
            raise ConfigurationError([f"{path.name}: {query.name} is there twice"])
        found[query.name] = query
    return found


def queries(aggregate: str) -> "QueryFile":
    """The file's statements, ready to be bound to names in a repository."""
    return QueryFile(aggregate, load(aggregate))


class One:
    """Runs a `:one` statement; its result is the row."""

    def __init__(self, query: Query) -> None:
        self.query = query

    async def __call__(self, conn: Connection, *args: object) -> Record:
        record = await conn.fetchrow(self.query.text, *args)
        if record is None:
            raise InvariantBroken(f"{self.query.name} answered no row")
        return record


class Maybe:
    """Runs a `:maybe` statement; its result is the row or None."""

    def __init__(self, query: Query) -> None:
        self.query = query

    async def __call__(self, conn: Connection, *args: object) -> Record | None:
        return await conn.fetchrow(self.query.text, *args)


class Many:
    """Runs a `:many` statement; its result is the list of rows, bounded by the statement."""

    def __init__(self, query: Query) -> None:
        self.query = query

    async def __call__(self, conn: Connection, *args: object) -> list[Record]:
        return await conn.fetch(self.query.text, *args)


class Exec:
    """Runs an `:exec` statement; its result is the number of rows affected."""

    def __init__(self, query: Query) -> None:
        self.query = query

    async def __call__(self, conn: Connection, *args: object) -> int:
        status = await conn.execute(self.query.text, *args)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0


class QueryFile:
    """The statements of one file; each is asked for by name and kind."""

    def __init__(self, aggregate: str, found: Mapping[str, Query]) -> None:
        self._aggregate = aggregate
        self._found = found

    def one(self, name: str) -> One:
        return One(self._take(name, "one"))

    def maybe(self, name: str) -> Maybe:
        return Maybe(self._take(name, "maybe"))

    def many(self, name: str) -> Many:
        return Many(self._take(name, "many"))

    def exec(self, name: str) -> Exec:
        return Exec(self._take(name, "exec"))

    def _take(self, name: str, kind: str) -> Query:
        query = self._found.get(name)
        if query is None:
            raise ConfigurationError([f"queries/{self._aggregate}.sql has no statement {name}"])
        if query.kind != kind:
            raise ConfigurationError(
                [f"queries/{self._aggregate}.sql: {name} is :{query.kind}, not :{kind}"]
            )
        return query


def _sections(path: Path) -> list[list[str]]:
    if not path.is_file():
        raise ConfigurationError([f"there is no {path.name} in {path.parent}"])
    sections: list[list[str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("-- name:"):
            sections.append([line])
        elif sections:
            sections[-1].append(line)
    return sections


def _parse(lines: list[str], path: Path) -> Query:
    heading = _NAME.match(lines[0])
    if heading is None:
        raise ConfigurationError([f"{path.name}: not a statement's name: {lines[0]!r}"])
    name = heading["name"]
    params: list[Param] = []
    why = ""
    body: list[str] = []
    for line in lines[1:]:
        if declared := _PARAMS.match(line):
            params += _parse_params(declared["params"], len(params), f"{path.name}: {name}")
        elif reason := _WHY.match(line):
            why = reason["why"]
        elif body or (line.strip() and not line.startswith("--")):
            body.append(line)
    text = "\n".join(body).strip().removesuffix(";")
    if not (text and why):
        raise ConfigurationError([f"{path.name}: {name} lacks its statement or its why"])
    return Query(name=name, kind=heading["kind"], params=tuple(params), why=why, text=text)


def _parse_params(text: str, already: int, where: str) -> list[Param]:
    params = []
    for position, part in enumerate(re.split(r",\s*(?=\$)", text), start=already + 1):
        match = _PARAM.match(part.strip().removesuffix(","))
        if match is None or int(match["position"]) != position:
            raise ConfigurationError([f"{where}: ${position} is not declared as $n name type"])
        params.append(Param(name=match["name"], type=match["type"]))
    return params

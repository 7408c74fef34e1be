"""Every statement in sql/queries is what its header says, and is used; schema.sql is the schema."""

import ast
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import abaxus_core
from abaxus_core.kernel import sql
from tests.support.postgres import TestDatabases
from tests.support.schema import SCHEMA_FILE, dump_schema

PACKAGE = Path(abaxus_core.__file__).parent
AGGREGATES = sorted(path.stem for path in (sql.folder() / "queries").glob("*.sql"))
QUERIES = {
    f"{aggregate}.{query.name}": query
    for aggregate in AGGREGATES
    for query in sql.load(aggregate).values()
}
_ALIASES = {
    "int": "integer",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "bool": "boolean",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "character varying": "text",
}


@pytest.fixture(scope="module")
async def conn(module_databases: TestDatabases) -> AsyncIterator[Any]:
    """With the temporary table of landings, which statements name."""
    async with module_databases.live.connection() as conn:
        await conn.execute(QUERIES["rollups.prepare"].text)
        yield conn


@pytest.mark.parametrize("name", sorted(QUERIES))
async def test_statement_takes_what_its_header_says(conn: Any, name: str) -> None:
    query = QUERIES[name]
    statement = await conn.prepare(query.text)
    taken = [_canonical(_name_of(type_)) for type_ in statement.get_parameters()]
    assert [_canonical(param.type) for param in query.params] == taken


@pytest.mark.parametrize("name", sorted(QUERIES))
async def test_statement_answers_rows_when_its_kind_says_so(conn: Any, name: str) -> None:
    query = QUERIES[name]
    columns = (await conn.prepare(query.text)).get_attributes()
    assert query.kind == "exec" or columns, f":{query.kind} answers no columns"
    names = [column.name for column in columns]
    assert query.kind == "exec" or len(set(names)) == len(names), "two columns of one name"


def test_every_statement_is_used_once_bound_and_every_bound_one_exists() -> None:
    bound = [name for path in PACKAGE.rglob("*.py") for name in _bound_in(path)]
    assert sorted(set(bound)) == sorted(QUERIES)


def test_every_parameter_is_in_its_statement() -> None:
    for name, query in QUERIES.items():
        used = {int(number) for number in re.findall(r"\$(\d+)", query.text)}
        assert used == set(range(1, len(query.params) + 1)), name


def test_schema_file_is_what_the_migrations_make(databases: TestDatabases) -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == dump_schema(databases.dsn), "run make schema"


def _bound_in(path: Path) -> list[str]:
    """`aggregate.name` for each `x = queries("aggregate")` and `x.kind("name")` in a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    files = {
        _target(node): _argument(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and _calls(node.value, "queries")
    }
    return [
        f"{files[node.func.value.id]}.{_argument(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in files
    ]


def _calls(node: ast.expr, function: str) -> bool:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function
    )


def _argument(node: ast.expr) -> str:
    assert isinstance(node, ast.Call)
    argument = node.args[0]
    assert isinstance(argument, ast.Constant), "a statement is named by a literal"
    return str(argument.value)


def _target(node: ast.Assign) -> str:
    target = node.targets[0]
    assert isinstance(target, ast.Name)
    return target.id


def _name_of(type_: Any) -> str:
    return f"{type_.name.removesuffix('[]')}[]" if type_.kind == "array" else str(type_.name)


def _canonical(name: str) -> str:
    bare = re.sub(r"\(.*\)", "", name.removesuffix("[]")).strip()
    array = "[]" if name.endswith("[]") else ""
    return _ALIASES.get(bare, bare) + array

"""The bans of the house style, held against the shipped source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import abaxus_core

ROOT = Path(abaxus_core.__file__).resolve().parent.parent
SHIPPED = ("abaxus_core", "abaxus_plugins")
SOURCES = sorted(path for package in SHIPPED for path in (ROOT / package).rglob("*.py"))
DOMAIN = [path for path in SOURCES if path.is_relative_to(ROOT / "abaxus_core" / "domain")]
CLOCK = ROOT / "abaxus_core" / "plugin" / "clock.py"

SQL_STATEMENT = re.compile(
    r"\s*(SELECT|INSERT\s+INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM|WITH\s+\S+\s+AS|TRUNCATE|COPY\s+\S+"
    r"|(CREATE|ALTER|DROP)\s+(TABLE|INDEX|SCHEMA|DATABASE|ROLE|FUNCTION|TEMP)|LISTEN\s|NOTIFY\s"
    r"|LOCK\s+TABLE|SET\s+LOCAL|BEGIN;?$|COMMIT;?$|ROLLBACK;?$)\b"
)
DATABASE_METHODS = {"execute", "executemany", "fetch", "fetchrow", "fetchval", "prepare", "cursor"}
WALL_CLOCKS = {
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    ("time", "time"),
    ("time", "time_ns"),
}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b(?!.*#\d+)")

each_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def found(path: Path, nodes: Iterator[ast.AST]) -> list[str]:
    return [f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}" for node in nodes]


@each_source
def test_no_binary_floating_point(path: Path) -> None:
    offenders = (
        node
        for node in ast.walk(tree_of(path))
        if (isinstance(node, ast.Name) and node.id == "float")
        or (isinstance(node, ast.Constant) and type(node.value) in (float, complex))
    )
    assert found(path, offenders) == []


@each_source
def test_the_time_is_read_in_one_place(path: Path) -> None:
    if path == CLOCK:
        return
    offenders = (
        node
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in WALL_CLOCKS
    )
    assert found(path, offenders) == []


@each_source
def test_nothing_is_printed(path: Path) -> None:
    offenders = (
        node
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("print", "breakpoint", "input")
    )
    assert found(path, offenders) == []


@each_source
def test_sql_lives_in_files(path: Path) -> None:
    tree = tree_of(path)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    offenders = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in prose
        and SQL_STATEMENT.match(node.value)
    )
    assert found(path, offenders) == []


@each_source
def test_no_statement_is_glued_together(path: Path) -> None:
    offenders = (
        node
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in DATABASE_METHODS
        and node.args
        and not isinstance(node.args[0], (ast.Name, ast.Attribute))
    )
    assert found(path, offenders) == []


@each_source
def test_imports_stand_at_the_top(path: Path) -> None:
    tree = tree_of(path)
    offenders = (
        node
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    )
    assert found(path, offenders) == []


@each_source
def test_a_module_says_what_it_is_for(path: Path) -> None:
    tree = tree_of(path)
    assert not tree.body or ast.get_docstring(tree), "no docstring"


@each_source
def test_nothing_is_left_for_later_without_an_issue(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if UNFINISHED.search(line)] == []


@pytest.mark.parametrize("path", DOMAIN, ids=lambda path: path.name)
def test_the_domain_is_pure(path: Path) -> None:
    tree = tree_of(path)
    modules = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in _imported(node)
    }
    waits = (n for n in ast.walk(tree) if isinstance(n, (ast.AsyncFunctionDef, ast.Await)))
    assert found(path, waits) == []
    assert modules.isdisjoint({"asyncio", "asyncpg", "httpx", "os", "random", "secrets", "time"})


def test_sql_folder_holds_only_sql() -> None:
    strangers = [path for path in (ROOT / "sql").rglob("*") if path.is_file()]
    assert [path.name for path in strangers if path.suffix != ".sql"] == []


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names]

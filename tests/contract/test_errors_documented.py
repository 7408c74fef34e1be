"""Codes, classes and documentation say the same."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import abaxus_core
from abaxus_core import errors
from abaxus_core.http.error_codes import RAISED_AS, status_of_code

CORE = Path(abaxus_core.__file__).parent
PAGE = CORE.parent / "docs" / "errors.md"
ROW = re.compile(r"^\| `(?P<code>[A-Z_]+)` \| (?P<status>\d+) \| (?P<when>.+) \| (?P<do>.+) \|$")


def rows() -> list[re.Match[str]]:
    return [found for line in PAGE.read_text().splitlines() if (found := ROW.match(line))]


def raised() -> Iterator[tuple[str, str]]:
    """The class and the code of each error that is made with a code of its own."""
    for folder in ("domain", "repositories", "services", "http"):
        for path in (CORE / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                name = ast.unparse(node.func).rpartition(".")[2]
                for keyword in node.keywords:
                    if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                        yield name, str(keyword.value.value)


def test_every_code_is_documented_once_with_its_status() -> None:
    documented = [(row["code"], int(row["status"])) for row in rows()]
    assert sorted(documented) == sorted((code, status_of_code(code)) for code in RAISED_AS)


def test_every_row_says_when_and_what_to_do() -> None:
    for row in rows():
        assert len(row["when"]) > 10, row["code"]
        assert len(row["do"]) > 5, row["code"]


def test_every_code_is_raised_with_the_class_it_is_listed_under() -> None:
    of_ours = [(name, code) for name, code in raised() if hasattr(errors, name)]
    assert len(of_ours) > 20
    for name, code in of_ours:
        kind = getattr(errors, name)
        assert code in RAISED_AS, code
        assert issubclass(RAISED_AS[code], kind) or issubclass(kind, RAISED_AS[code]), code


def test_every_default_code_is_listed() -> None:
    listed = set(RAISED_AS)
    for name in vars(errors):
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, errors.AbaxusError):
            assert kind.default_code in listed or kind is errors.ConfigurationError, name

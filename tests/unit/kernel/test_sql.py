from collections.abc import Callable
from pathlib import Path

import pytest

from abaxus_core.errors import ConfigurationError
from abaxus_core.kernel import sql
from abaxus_core.kernel.sql import Param

Write = Callable[[str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    (tmp_path / "queries").mkdir()
    monkeypatch.setattr(sql, "folder", lambda: tmp_path)

    def write(text: str) -> None:
        (tmp_path / "queries" / "things.sql").write_text(text)

    return write


GOOD = """\
-- What stands above the first name is for readers.

-- name: get :maybe
-- params: $1 thing_id text, $2 share numeric(38, 10)
-- params: $3 keys text[]
-- why: one thing
-- (and why so)
SELECT 1 -- a comment stays
WHERE $1 = 'a;b';

-- name: list_all :many
-- why: all of them
SELECT 2;
"""


def test_file_is_parsed(write: Write) -> None:
    write(GOOD)
    found = sql.load("things")
    assert list(found) == ["get", "list_all"]
    assert found["get"].params == (
        Param(name="thing_id", type="text"),
        Param(name="share", type="numeric(38, 10)"),
        Param(name="keys", type="text[]"),
    )
    assert found["get"].text == "SELECT 1 -- a comment stays\nWHERE $1 = 'a;b'"
    assert found["get"].why == "one thing"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-- name: get\n-- why: x\nSELECT 1;", "not a statement's name"),
        ("-- name: get :some\n-- why: x\nSELECT 1;", "not a statement's name"),
        ("-- name: get :one\nSELECT 1;", "lacks"),
        ("-- name: get :one\n-- why: x\n", "lacks"),
        ("-- name: get :one\n-- params: $2 a text\n-- why: x\nSELECT $2;", "not declared"),
        ("-- name: get :one\n-- params: $1 a\n-- why: x\nSELECT $1;", "not declared"),
        (GOOD + GOOD, "twice"),
    ],
)
def test_malformed_file_is_refused(write: Write, text: str, complaint: str) -> None:
    write(text)
    with pytest.raises(ConfigurationError, match=complaint):
        sql.load("things")


def test_wrong_name_or_kind_fails_when_bound(write: Write) -> None:
    write(GOOD)
    file = sql.queries("things")
    assert file.maybe("get").query.name == "get"
    with pytest.raises(ConfigurationError, match="is :maybe, not :one"):
        file.one("get")
    with pytest.raises(ConfigurationError, match="no statement gett"):
        file.maybe("gett")


def test_missing_file_is_named(write: Write) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no things\.sql"):
        sql.load("things")

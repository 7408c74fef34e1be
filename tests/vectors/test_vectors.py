"""The vectors agree with the domain, and the page of reasons is complete."""

import json
from pathlib import Path

import pytest

from tests.vectors.reasons import REASONS
from tests.vectors.runner import run_file, table

ROOT = Path(__file__).parents[2]
OWN = sorted((Path(__file__).parent / "own").glob("*.json"))
SHARED = sorted((ROOT.parent / "shared" / "vectors").glob("*.json"))


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_our_own_vectors_do_not_differ(path: Path) -> None:
    report = run_file(path)
    assert report.with_verdict("agree")
    assert not report.with_verdict("differ"), table([report])


@pytest.mark.skipif(not SHARED, reason="no ../shared/vectors beside this checkout")
def test_no_shared_vector_differs() -> None:
    reports = [run_file(path) for path in SHARED]
    print(table(reports))
    assert not [outcome for report in reports for outcome in report.with_verdict("differ")]


def test_every_reason_is_documented_with_its_rule() -> None:
    page = (ROOT / "docs" / "vectors.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    documented = {cells[1].strip(" `"): cells[3] for cells in rows}
    assert set(documented) == set(REASONS)
    assert all("§" in rule for rule in documented.values())


def test_a_wrong_expectation_differs(tmp_path: Path) -> None:
    document = json.loads(OWN[0].read_text(encoding="utf-8"))
    document["open"][0]["expected"] = {"value": "1"}
    path = tmp_path / OWN[0].name
    path.write_text(json.dumps(document), encoding="utf-8")
    differing = run_file(path).with_verdict("differ")
    assert [outcome.case.id for outcome in differing] == [document["open"][0]["id"]]


def test_an_unknown_kind_differs_instead_of_passing(tmp_path: Path) -> None:
    case = {"id": "x", "kind": "unheard_of", "input": {}, "expected": {"value": "1"}}
    path = tmp_path / "pricing.json"
    path.write_text(json.dumps({"area": "pricing", "format": 1, "open": [case]}), encoding="utf-8")
    assert run_file(path).with_verdict("differ")

"""The checks of the conformance kit find what they are for: each bad sender fails at its own."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.contract import bad_senders
from tests.contract.bad_senders import AcmeContract

ROOT = Path(__file__).parents[2]
CASES = {name: case for name, case in vars(bad_senders).items() if name.startswith("Test")}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Which checks failed, by case."""
    report = tmp_path_factory.mktemp("report") / "report.xml"
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"),
        *("--junitxml", str(report), bad_senders.__file__),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[str, set[str]] = {name: set() for name in CASES}
    for test in ElementTree.parse(report).iter("testcase"):
        if test.find("failure") is not None or test.find("error") is not None:
            case = test.attrib["classname"].rpartition(".")[2]
            found[case].add(test.attrib["name"].partition("[")[0])
    return found


@pytest.mark.parametrize("name", CASES)
def test_it_fails_at_the_check_meant_for_it_and_no_other(
    failed: dict[str, set[str]], name: str
) -> None:
    case: type[AcmeContract] = CASES[name]
    assert failed[name] == case.meant


def test_every_check_is_meant_by_some_bad_sender() -> None:
    checks = {name for name in dir(AcmeContract) if name.startswith("test_")}
    meant = set().union(*(case.meant for case in CASES.values()))
    assert checks - meant == {
        "test_a_mail_is_accepted",
        "test_each_setting_that_is_required_is_missed_by_name",
    }

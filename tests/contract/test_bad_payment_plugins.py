"""Every check of payment providers can fail: each spoiled plugin fails those meant for it alone."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from abaxus_core.conformance.payments import PaymentProviderContract
from tests.support import bad_payment_plugins

ROOT = Path(__file__).parents[2]
CLASSES = {
    name: kind
    for name, kind in vars(bad_payment_plugins).items()
    if name.startswith("Test") and issubclass(kind, PaymentProviderContract)
}
CHECKS = {name for name in dir(PaymentProviderContract) if name.startswith("test_")}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Which checks each class failed, in a run of pytest of their own."""
    report = tmp_path_factory.mktemp("report") / "junit.xml"
    module = ROOT / "tests" / "support" / "bad_payment_plugins.py"
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "--tb=no"]
    subprocess.run(
        [*command, f"--junitxml={report}", module], cwd=ROOT, capture_output=True, check=False
    )
    found: dict[str, set[str]] = {name: set() for name in CLASSES}
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            found[case.attrib["classname"].split(".")[-1]].add(case.attrib["name"].split("[")[0])
    return found


@pytest.mark.parametrize("name", CLASSES)
def test_it_fails_the_checks_meant_for_it(failed: dict[str, set[str]], name: str) -> None:
    assert failed[name] == CLASSES[name].caught_by


def test_every_check_catches_somebody() -> None:
    caught = set().union(*(kind.caught_by for kind in CLASSES.values()))
    assert CHECKS - caught == set()

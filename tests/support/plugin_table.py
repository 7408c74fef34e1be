"""The table of payment plugins in docs/plugins.md, from their capabilities and a run of the
conformance tests.

    python -m tests.support.plugin_table    writes it
"""

import asyncio
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from abaxus_core.conformance.payments import PaymentProviderContract
from abaxus_core.plugin.payments import Capabilities
from tests.contract import test_payment_conformance as conformance

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "plugins.md"
BEGIN = "<!-- payment plugins: made by make plugin-table -->\n"
END = "<!-- end of payment plugins -->\n"
HEAD = """\
| plugin | keys live for | fetch | find | cancel | refund | validate | currencies | conformance |
|---|---|---|---|---|---|---|---|---|
"""


def contracts() -> dict[str, type[PaymentProviderContract]]:
    """The conformance tests of our plugins, by class name."""
    return {
        name: kind
        for name, kind in vars(conformance).items()
        if name.startswith("Test") and issubclass(kind, PaymentProviderContract)
    }


def table() -> str:
    rows = results()
    lines = [
        row(kind, asyncio.run(capabilities(kind)), rows[name]) for name, kind in contracts().items()
    ]
    return HEAD + "".join(sorted(lines))


def row(kind: type[PaymentProviderContract], can: Capabilities, results: Counter[str]) -> str:
    name = kind.descriptor.name
    days, left = divmod(can.idempotency_ttl_s, 86_400)
    assert left == 0, "a life of keys that is no number of days"
    cells = [
        f"[{name}](../abaxus_plugins/{name}/README.md)",
        f"{days} d" if days else "never",
        *("yes" if able else "no" for able in (can.fetch, can.find, can.cancel, can.refund)),
        "yes" if can.validate else "no",
        "any" if can.currencies is None else str(len(can.currencies)),
        ", ".join(f"{count} {word}" for word, count in sorted(results.items(), reverse=True)),
    ]
    return f"| {' | '.join(cells)} |\n"


async def capabilities(kind: type[PaymentProviderContract]) -> Capabilities:
    async with kind().opened() as bench:
        return bench.provider.capabilities


def results() -> dict[str, Counter[str]]:
    """How many checks each passed and failed, and how many cannot be put to it."""
    file = Path(conformance.__file__)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider"]
        subprocess.run(
            [*command, f"--junitxml={report}", file], cwd=ROOT, capture_output=True, check=False
        )
        found: dict[str, Counter[str]] = {name: Counter() for name in contracts()}
        for case in ElementTree.parse(report).iter("testcase"):
            found[case.attrib["classname"].split(".")[-1]][word(case)] += 1
    return found


def word(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "not applicable" if case.find("skipped") is not None else "passed"


def shown() -> str:
    """The table as the page has it."""
    return PAGE.read_text().split(BEGIN)[1].split(END)[0]


def main() -> None:
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.split(END)[1])


if __name__ == "__main__":
    main()

"""The tables of our plugins in docs/plugins.md, from their capabilities and a run of the
conformance tests.

    python -m tests.support.plugin_table    writes them
"""

import asyncio
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

from abaxus_core.conformance.email import EmailSenderContract
from abaxus_core.conformance.payments import PaymentProviderContract
from abaxus_core.plugin import email, payments
from tests.contract import test_email_conformance, test_payment_conformance

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "plugins.md"
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Table:
    """`cells` of a plugin's capabilities stand between its name and how it passes."""

    kind: str
    head: tuple[str, ...]
    tests: ModuleType
    contract: type
    cells: Callable[[type], list[str]]

    @property
    def begin(self) -> str:
        return f"<!-- {self.kind}: made by make plugin-table -->\n"

    @property
    def end(self) -> str:
        return f"<!-- end of {self.kind} -->\n"

    def contracts(self) -> dict[str, type]:
        """The conformance tests of our plugins, by class name."""
        return {
            name: one
            for name, one in vars(self.tests).items()
            if name.startswith("Test") and issubclass(one, self.contract)
        }

    def made(self) -> str:
        rows = self.results()
        names = ("plugin", *self.head, "conformance")
        lines = [self.row(one, rows[name]) for name, one in self.contracts().items()]
        return _line(names) + _line(["---"] * len(names), " ") + "".join(sorted(lines))

    def row(self, one: type, results: Counter[str]) -> str:
        name = one.descriptor.name
        passed = ", ".join(f"{count} {word}" for word, count in sorted(results.items())[::-1])
        return _line((f"[{name}](../abaxus_plugins/{name}/README.md)", *self.cells(one), passed))

    def results(self) -> dict[str, Counter[str]]:
        """How many checks each passed and failed, and how many cannot be put to it."""
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "junit.xml"
            command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider"]
            subprocess.run(
                [*command, f"--junitxml={report}", self.tests.__file__],
                cwd=ROOT,
                capture_output=True,
                check=False,
            )
            found: dict[str, Counter[str]] = {name: Counter() for name in self.contracts()}
            for case in ElementTree.parse(report).iter("testcase"):
                name = case.attrib["classname"].split(".")[-1]
                if name in found:
                    found[name][_word(case)] += 1
        return found

    def shown(self) -> str:
        """The table as the page has it."""
        return PAGE.read_text().split(self.begin)[1].split(self.end)[0]

    def write(self) -> None:
        before, rest = PAGE.read_text().split(self.begin)
        PAGE.write_text(before + self.begin + self.made() + self.end + rest.split(self.end)[1])


def _line(cells: list[str] | tuple[str, ...], pad: str = " ") -> str:
    return "|" + "|".join(f"{pad}{cell}{pad}" for cell in cells).replace(" --- ", "---") + "|\n"


def _word(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "not applicable" if case.find("skipped") is not None else "passed"


def _payment_cells(one: type[PaymentProviderContract]) -> list[str]:
    can = asyncio.run(_payment_capabilities(one))
    days, left = divmod(can.idempotency_ttl_s, 86_400)
    assert left == 0, "a life of keys that is no number of days"
    return [
        f"{days} d" if days else "never",
        *map(_yes, (can.fetch, can.find, can.cancel, can.refund, can.validate)),
        "any" if can.currencies is None else str(len(can.currencies)),
    ]


async def _payment_capabilities(one: type[PaymentProviderContract]) -> payments.Capabilities:
    async with one().opened() as bench:
        return bench.provider.capabilities


def _email_cells(one: type[EmailSenderContract]) -> list[str]:
    can = asyncio.run(_email_capabilities(one))
    largest = "unknown" if can.bytes_max is None else f"{can.bytes_max / MIB:.0f} MiB"
    return [largest, _yes(can.idempotent)]


async def _email_capabilities(one: type[EmailSenderContract]) -> email.Capabilities:
    async with one().opened() as bench:
        return bench.sender.capabilities


def _yes(able: bool) -> str:
    return "yes" if able else "no"


TABLES = (
    Table(
        "payment plugins",
        ("keys live for", "fetch", "find", "cancel", "refund", "validate", "currencies"),
        test_payment_conformance,
        PaymentProviderContract,
        _payment_cells,
    ),
    Table(
        "email senders",
        ("largest mail", "drops a second delivery"),
        test_email_conformance,
        EmailSenderContract,
        _email_cells,
    ),
)


if __name__ == "__main__":
    for table in TABLES:
        table.write()

"""Runs the cases of a file through the functions that map them, and prints what came of it."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tests.vectors import (
    aggregation,
    entitlements,
    periods,
    pricing,
    proration,
    scenarios,
    service_windows,
)
from tests.vectors.case import Case, NotApplicable, Outcome, differences
from tests.vectors.reasons import REASONS

Mapper = Callable[[Case], Mapping[str, Any]]

AREAS: Mapping[str, Mapping[str, Mapper]] = {
    "pricing": pricing.KINDS,
    "aggregation": aggregation.KINDS,
    "periods": {**periods.KINDS, **service_windows.KINDS},
    "proration": proration.KINDS,
    "entitlements": entitlements.KINDS,
    "scenarios": scenarios.KINDS,
}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The outcomes of one file."""

    area: str
    outcomes: list[Outcome]

    def with_verdict(self, verdict: str) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.verdict == verdict]


def run_file(path: Path) -> Report:
    """Return what became of every case of a file, the held ones included."""
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["format"] == 1, f"{path.name} has a format that we do not read"
    stated = [*document.get("open", []), *document.get("held", [])]
    cases = [msgspec.convert(case, Case) for case in stated]
    return Report(
        area=document["area"], outcomes=[_run(AREAS[document["area"]], case) for case in cases]
    )


def _run(kinds: Mapping[str, Mapper], case: Case) -> Outcome:
    if case.kind not in kinds:
        return Outcome(case=case, verdict="differ", got=f"no mapping of kind {case.kind}")
    try:
        got = kinds[case.kind](case)
    except NotApplicable as answer:
        return Outcome(case=case, verdict="not applicable", reason=answer.reason)
    except Exception as error:  # noqa: BLE001 - a case that breaks us differs; the others go on
        return Outcome(case=case, verdict="differ", got=repr(error))
    if differences(case, got):
        return Outcome(case=case, verdict="differ", got=json.dumps(got, default=str))
    return Outcome(case=case, verdict="agree")


def table(reports: Iterable[Report]) -> str:
    """Return the table per file, then the cases that differ, then the reasons for the rest."""
    listed = list(reports)
    lines = [f"{'area':<14}{'cases':>7}{'agree':>7}{'differ':>8}{'not applicable':>16}"]
    lines += [_row(report) for report in listed]
    for report in listed:
        lines += _details(report)
    return "\n".join(lines)


def _row(report: Report) -> str:
    counts = Counter(outcome.verdict for outcome in report.outcomes)
    return (
        f"{report.area:<14}{len(report.outcomes):>7}{counts['agree']:>7}"
        f"{counts['differ']:>8}{counts['not applicable']:>16}"
    )


def _details(report: Report) -> list[str]:
    lines = []
    for outcome in report.with_verdict("differ"):
        expected = json.dumps(outcome.case.expected)
        lines.append(f"\ndiffers: {outcome.case.id} ({outcome.case.kind})")
        lines.append(f"  expected {expected}\n  got      {outcome.got}")
    grouped: dict[str, list[str]] = defaultdict(list)
    for outcome in report.with_verdict("not applicable"):
        grouped[outcome.reason or ""].append(outcome.case.id)
    for reason, ids in sorted(grouped.items()):
        lines.append(f"\n{report.area}, not applicable: {reason} ({len(ids)}): {REASONS[reason]}")
        lines.append(f"  {' '.join(ids)}")
    return lines

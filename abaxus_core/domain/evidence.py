"""Evidence: an issued invoice held against what its events, plan, payments and lines say now.

Pure: what is compared here was read by services/verification. Product contract, end of section 9.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal

import msgspec

from abaxus_core.domain.charges import Charge, FlatFee
from abaxus_core.domain.decimals import ZERO, exact, plain
from abaxus_core.domain.digest import digest_text
from abaxus_core.domain.explanations import faults
from abaxus_core.domain.findings import Finding, Invariant
from abaxus_core.domain.instants import text_of
from abaxus_core.domain.invoices import Invoice, Line, credit_change, number_text
from abaxus_core.domain.money import to_minor
from abaxus_core.domain.pricing import Rated, rate, stepped
from abaxus_core.domain.true_up import Billed, ChargeKey, Usage


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """A payment of an invoice that succeeded."""

    payment_id: str
    amount_minor: int
    currency: str


class LineEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a line is held against.

    `counted`: what its events come to at its watermark, None where it counts nothing. `charge`: as
    the plan version has it, None where it has no such charge. `before`: what the revisions before
    it billed.
    """

    counted: Usage | None
    charge: Charge | None
    before: Billed


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What an invoice is held against; `lines` in its order.

    `credit_before_minor`: the customer's credit before it. `credit_change_minor`: what is on record
    as added to it or, negative, taken by this invoice.
    """

    lines: Sequence[LineEvidence]
    credit_before_minor: int
    credit_change_minor: int
    collected: Sequence[Collected]


def findings(invoice: Invoice, evidence: Evidence) -> Iterator[Finding]:
    """Yield what of an issued invoice does not hold."""
    yield from _of_total(invoice, evidence)
    yield from _of_payments(invoice, evidence.collected)
    for line_no, (line, one) in enumerate(zip(invoice.lines, evidence.lines, strict=True), start=1):
        place = _Place(name_of(invoice, line_no))
        yield from _of_counts(place, line, one)
        yield from _of_rating(place, line, one, invoice.currency)
        for fault in faults(line, invoice.currency):
            yield place.finding("line_explained", "terms that add up to the amount", fault)


def name_of(invoice: Invoice, line_no: int | None = None) -> str:
    """Return how a finding names an invoice, or a line of it, counted from 1."""
    name = f"invoice {number_text(invoice.number)} ({invoice.id})"
    return name if line_no is None else f"line {line_no} of {name}"


def period_findings(owed: dict[ChargeKey, int], billed: dict[ChargeKey, int]) -> Iterator[Finding]:
    """Yield where all lines of a closed period come to something else than one rating of it."""
    for key in sorted(owed.keys() | billed.keys(), key=_in_order):
        expected, found = owed.get(key, 0), billed.get(key, 0)
        if expected != found:
            yield _Place(_name_of_key(key)).finding(
                "period_billed_as_rated", f"{expected} billed", f"{found} billed"
            )


def _in_order(key: ChargeKey) -> tuple[str, str, str, str]:
    starts = text_of(key.period_start), text_of(key.segment_start)
    return key.subscription_id, *starts, key.charge_id


def _name_of_key(key: ChargeKey) -> str:
    return (
        f"charge {key.charge_id} of {key.subscription_id}, period from "
        f"{text_of(key.period_start)}, segment from {text_of(key.segment_start)}"
    )


class _Place:
    def __init__(self, where: str) -> None:
        self._where = where

    def finding(self, invariant: Invariant, expected: object, found: object) -> Finding:
        return Finding(
            invariant=invariant, where=self._where, expected=str(expected), found=str(found)
        )


def _of_total(invoice: Invoice, evidence: Evidence) -> Iterator[Finding]:
    place = _Place(name_of(invoice))
    total = sum(line.amount_minor for line in invoice.lines)
    if total != invoice.total_minor:
        yield place.finding("lines_sum_to_total", f"a total of {total}", invoice.total_minor)
        return
    due = sum(line.amount_minor for line in invoice.lines if line.charge_id is not None)
    wanted = credit_change(due, evidence.credit_before_minor)
    for change in {total - due, evidence.credit_change_minor} - {wanted}:
        yield place.finding("lines_sum_to_total", f"{wanted} of credit moved", change)


def _of_payments(invoice: Invoice, collected: Sequence[Collected]) -> Iterator[Finding]:
    place = _Place(name_of(invoice))
    wanted = 1 if invoice.status == "paid" and invoice.total_minor > 0 else 0
    if len(collected) != wanted:
        names = ", ".join(one.payment_id for one in collected) or "none"
        yield place.finding(
            "paid_once", f"{wanted} succeeded payments, as it is {invoice.status}", names
        )
    for one in collected:
        if (one.amount_minor, one.currency) != (invoice.total_minor, invoice.currency):
            yield place.finding(
                "paid_once",
                f"{invoice.total_minor} {invoice.currency} paid",
                f"{one.amount_minor} {one.currency} by {one.payment_id}",
            )


def _of_counts(place: _Place, line: Line, evidence: LineEvidence) -> Iterator[Finding]:
    counted = evidence.counted
    if counted is None:
        return
    if line.event_count != counted.event_count:
        yield place.finding(
            "line_matches_events", f"{counted.event_count} events", line.event_count
        )
    if line.digest is None or digest_text(line.digest) != digest_text(counted.digest):
        found = None if line.digest is None else digest_text(line.digest)
        yield place.finding("line_matches_events", f"digest {digest_text(counted.digest)}", found)
    if line.quantity != counted.quantity:
        yield place.finding(
            "line_matches_events", f"a quantity of {plain(counted.quantity)}", line.quantity
        )


def _of_rating(
    place: _Place, line: Line, evidence: LineEvidence, currency: str
) -> Iterator[Finding]:
    if line.charge_id is None:
        return
    yield from _of_revision(place, line, evidence.before)
    rated = _rated(line, evidence)
    if rated is None:
        yield place.finding(
            "line_matches_rating", f"{line.charge_id} in its plan version", "no such charge"
        )
        return
    if (rated.step, rated.breakdown) != (line.step, line.tier_breakdown):
        yield place.finding("line_matches_rating", _spelt(rated), _spelt(line))
    owed_minor = to_minor(rated.exact_amount, currency)
    if owed_minor != line.owed_minor:
        yield place.finding("line_matches_rating", f"{owed_minor} owed", line.owed_minor)
    with exact():
        difference = rated.exact_amount - evidence.before.exact_amount
    if difference != line.exact_amount:
        yield place.finding(
            "line_matches_rating", f"exactly {difference}", f"exactly {line.exact_amount}"
        )


def _of_revision(place: _Place, line: Line, before: Billed) -> Iterator[Finding]:
    if line.revision != before.revisions + 1:
        yield place.finding(
            "line_matches_rating", f"revision {before.revisions + 1}", line.revision
        )
    if line.previously_billed_minor != before.amount_minor:
        yield place.finding(
            "line_matches_rating",
            f"{before.amount_minor} billed before",
            line.previously_billed_minor,
        )


def _rated(line: Line, evidence: LineEvidence) -> Rated | None:
    """What the line should say: its charge's rating of what was counted, or of the share of a fee.

    A line without a proof whose charge counts usage, or without a step whose charge is a fee, gives
    back what is owed no longer.
    """
    charge = evidence.charge
    match charge:
        case None:
            return None
        case FlatFee():
            return _rated_fee(charge, line)
        case _ if evidence.counted is None:
            return Rated(exact_amount=ZERO)
        case _:
            return rate(charge, evidence.counted.quantity)


def _rated_fee(fee: FlatFee, line: Line) -> Rated:
    """How much of a fee it is, and whether it is taken or given back, is the period's to say."""
    if line.step is None:
        return Rated(exact_amount=ZERO)
    step = msgspec.structs.replace(line.step, unit_price=fee.amount)
    sign = Decimal(-1) if step.quantity < 0 else Decimal(1)
    return stepped(msgspec.structs.replace(step, quantity=sign))


def _spelt(said: Rated | Line) -> str:
    breakdown = said.breakdown if isinstance(said, Rated) else said.tier_breakdown
    return msgspec.json.encode({"step": said.step, "tiers": breakdown}).decode()

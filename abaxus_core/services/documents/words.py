"""The words of a document, in English; an operator's words.toml replaces any of them.

What stands in braces is filled in; a word may leave it out, and may name nothing else.
"""

import string
from pathlib import Path

import msgspec


class Words(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    invoice: str = "Invoice"
    invoice_number: str = "Invoice number"
    issued: str = "Issue date"
    period: str = "Billing period"
    cutoff: str = "Usage counted up to"
    currency: str = "Currency"
    bill_to: str = "Bill to"
    customer_id: str = "Customer ID"
    tax_id: str = "Tax ID"
    description: str = "Description"
    quantity: str = "Quantity"
    unit_price: str = "Unit price"
    amount: str = "Amount"
    tier: str = "Tier {tier}"
    tier_up_to: str = "Tier {tier}, up to {up_to}"
    tier_flat_amount: str = "{tier}, plus {flat_amount} flat"
    packages: str = "{count} packages of {size} at {price}"
    adjustment: str = "Adjustment of an earlier invoice"
    billed_before: str = "{owed} in all, {billed} of it billed before"
    credit_carried: str = "Credit carried forward"
    credit_applied: str = "Credit applied"
    tiers_left_out: str = "Tiers are left out of a document of this length."
    subtotal: str = "Subtotal"
    total: str = "Total"
    page: str = "Page {page} of {pages}"
    test: str = "Test document. Nothing is owed."
    subject: str = "Invoice {number}"
    subject_from: str = "Invoice {number} from {seller}"
    attached: str = "The invoice is attached as a PDF."
    lines_left_out: str = "{count} more lines are in the attached PDF."
    amount_due: str = "Amount due: {amount}"
    paid: str = "Paid on {day}. Nothing is due."
    nothing_due: str = "Nothing is due."


ENGLISH = Words()


def read(path: Path) -> Words:
    """Return the words of a TOML file, over ours. Raises ValueError in one sentence."""
    words = msgspec.toml.decode(path.read_bytes(), type=Words)
    for name, ours in msgspec.structs.asdict(ENGLISH).items():
        _check(name, ours, getattr(words, name))
    return words


def _check(name: str, ours: str, theirs: str) -> None:
    known = _places(ours)
    if not theirs.isprintable():
        raise ValueError(f"{name} must be printable, on one line")
    unknown = _places(theirs) - known
    if unknown:
        allowed = ", ".join(f"{{{place}}}" for place in sorted(known)) or "nothing"
        raise ValueError(f"{name} names {{{unknown.pop()}}}; it may name {allowed}")


def _places(word: str) -> set[str]:
    return {
        f"{place}{'!' + conversion if conversion else ''}{':' + form if form else ''}"
        for _, place, form, conversion in string.Formatter().parse(word)
        if place is not None
    }

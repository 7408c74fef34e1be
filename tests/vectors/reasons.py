"""Why a case may be not applicable. docs/vectors.md cites the product's rule for each."""

from collections.abc import Mapping
from types import MappingProxyType

REASONS: Mapping[str, str] = MappingProxyType(
    {
        # Later: the product leaves room and builds nothing yet.
        "time-zone": "boundaries at local midnight of a customer's time zone",
        "dimensional-filter": "filters, exclusions or groups by event properties",
        "minimum-commitment": "a minimum spend or commitment that tops a line up",
        "prepaid-credit": "grants of credit that usage burns down",
        "credit-note": "a credit capped at what was paid, as a credit note or refund is",
        "coupon": "a coupon or discount on a line or invoice",
        "tax": "tax on a line or invoice",
        # Rules that the product states and the case contradicts.
        "pricing-model": "a price per event, cap or rounding that no pricing model of ours has",
        "aggregation": "an aggregation that is none of the seven",
        "carried-usage": "usage from before the period counts in it",
        "unique-removal": "an event takes a value back out of a unique count",
        "negative-last": "the last value is floored at zero",
        "event-identity": "the same key with another timestamp counts as another event",
        "negative-usage": "negative usage is refused or priced below zero",
        "volume-at-end": "volume usage is billed at the period's end only",
        "maximum-spend": "a spend above a maximum is not billed",
        "prorated-usage": "usage is prorated by how long it lasted",
        "rounding-mode": "rounding other than half away from zero",
        "minor-unit": "money with decimals that no currency has",
        "second-basis": "proration by the second",
        "fixed-month": "proration over a month of a fixed number of days",
        "stepwise-boundary": "a boundary computed from another boundary, not from the anchor",
        "restarted-cycle": "a plan change starts a new billing cycle",
        "one-time": "a fee charged once, outside any billing period",
        "included-units": "an allowance outside the charge reduces the billed quantity",
        "limit-override": "one grant of a limit replaces or outranks another",
    }
)

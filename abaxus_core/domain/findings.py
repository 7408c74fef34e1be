"""Findings: what `abaxus verify` says where an invariant does not hold."""

from typing import Literal, TypeAlias

import msgspec

Invariant: TypeAlias = Literal[
    "lines_sum_to_total",
    "line_matches_events",
    "line_matches_rating",
    "line_explained",
    "period_billed_as_rated",
    "event_matches_key",
    "event_once",
    "event_in_partition",
    "rollup_matches_events",
    "entitlements_as_granted",
    "paid_once",
    "numbers_gapless",
    "audit_chain_whole",
]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What does not hold: the invariant by name, where, what was expected and what was found."""

    invariant: Invariant
    where: str
    expected: str
    found: str

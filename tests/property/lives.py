"""Random lives: what becomes of a subscription and when, and the plans that it goes through.

Drawn as data, and small, so that instants meet; test_lives.py plays them on the domain alone,
test_stored_lives.py on a real database.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Literal, TypeAlias, get_args

import msgspec
from hypothesis import strategies as st

from abaxus_core.domain.amendments import AmendmentType
from abaxus_core.domain.charges import (
    Charge,
    FlatFee,
    Package,
    PerUnit,
    Tier,
    Tiered,
    UsageCharge,
    Volume,
)
from abaxus_core.domain.periods import CADENCES, Cadence

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

SUM, PEAK = "calls", "seats"

Billing = Literal["in_arrears", "in_advance"]
Mode = Literal["alone", "bulk", "calculated"]


class When(msgspec.Struct, frozen=True, kw_only=True):
    """So long after now, or after the boundary of periods that comes next."""

    near: Literal["now", "boundary"]
    offset: timedelta


class Land(msgspec.Struct, frozen=True, kw_only=True):
    """Usage of some instants by metric; what lies too far ahead is refused."""

    events: tuple[tuple[str, When, Decimal], ...]


class Amend(msgspec.Struct, frozen=True, kw_only=True):
    """`lasts`: until the resumption of a pause, or until the end that is asked for.

    A pause of what is paused by then resumes it.
    """

    type: AmendmentType
    effective: When
    version: int
    prorate: bool
    lasts: timedelta | None


class Calculate(msgspec.Struct, frozen=True, kw_only=True):
    """`since`: only the billing periods that overlap so much time before the cutoff."""

    cutoff: When
    since: timedelta


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """`alone`: a request; `bulk`: marked even if nothing is new; `calculated`: by what was kept."""

    cutoff: When
    mode: Mode


Step: TypeAlias = Land | Amend | Calculate | Bill


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription that is made `lead` before it starts, and what becomes of it, and when."""

    start_at: datetime
    lead: timedelta
    lasts: timedelta | None
    cadence: Cadence
    charges: Mapping[int, tuple[Charge, ...]]
    steps: tuple[tuple[When, Step], ...]


def _from_now(*hours: int) -> tuple[When, ...]:
    return tuple(When(near="now", offset=number * HOUR) for number in hours)


# Few of each, so that instants meet; drawn whole, for hypothesis takes its time over each draw.
_AT_ONCE = _from_now(0)
_EDGES = tuple(
    When(near="boundary", offset=offset)
    for offset in (timedelta(), -HOUR, -6 * HOUR, HOUR, -timedelta(milliseconds=500))
)
AHEAD = (*_from_now(0, 1, 6, 24, 30, 72, 240), *_EDGES)
_CUTOFFS = (*_from_now(24, 12, 1, 0, -6), *_EDGES)
USED_AT = (*_from_now(0, -1, -6, -24, -30, -50, -100, -200, -300, -900, 6, 20, 24), *_EDGES)
VALUES = tuple(map(Decimal, ("7", "0", "0.3333", "1", "10", "10.5", "25")))
_EVENTS = tuple(product((SUM, SUM, SUM, PEAK), USED_AT, VALUES))
_TYPES: tuple[AmendmentType, ...] = (
    *("plan_change",) * 6,
    *("pause",) * 6,
    "resume",
    *("end_date_change",) * 2,
    "cancel",
)
_LASTING = (None, *(number * HOUR for number in (1, 30, 72, 240, 480, 900)))
AMENDS = tuple(
    Amend(type=type_, effective=effective, version=version, prorate=prorate, lasts=lasts)
    for type_, effective, version, prorate, lasts in product(
        _TYPES, (*_AT_ONCE * 8, *AHEAD), (1, 2, 3), (False, True), _LASTING
    )
)
_MODES: tuple[Mode, ...] = ("alone", "alone", "bulk", "calculated")
BILLS = tuple(Bill(cutoff=cutoff, mode=mode) for cutoff, mode in product(_CUTOFFS, _MODES))
CALCULATIONS = tuple(
    Calculate(cutoff=cutoff, since=since)
    for cutoff, since in product((*_CUTOFFS, *AHEAD), (DAY, 1_000 * DAY))
)
_lands = st.builds(
    Land, events=st.lists(st.sampled_from(_EVENTS), min_size=2, max_size=5).map(tuple)
)
_steps: st.SearchStrategy[Step] = st.one_of(
    st.sampled_from(AMENDS),
    st.sampled_from(AMENDS),
    _lands,
    st.sampled_from(BILLS),
    st.sampled_from(BILLS),
    st.sampled_from(CALCULATIONS),
)

_TIERS = (
    Tier(up_to=Decimal(8), unit_price=Decimal("0.5")),
    Tier(up_to=Decimal(20), unit_price=Decimal("0.0333"), flat_amount=Decimal("1.005")),
    Tier(up_to=None, unit_price=Decimal("0.01"), flat_amount=Decimal("0.25")),
)
priced: st.SearchStrategy[UsageCharge] = st.sampled_from(
    [
        PerUnit(id="unit", metric_key=SUM, unit_price=Decimal("0.125")),
        PerUnit(id="seat", metric_key=PEAK, unit_price=Decimal("1.50")),
        Tiered(id="graduated", metric_key=SUM, tiers=_TIERS),
        Tiered(
            id="reached",
            metric_key=SUM,
            tiers=(Tier(up_to=None, unit_price=Decimal(1), flat_amount=Decimal(3)),),
        ),
        Volume(id="volume", metric_key=SUM, tiers=_TIERS),
        Package(
            id="package",
            metric_key=SUM,
            package_size=Decimal(10),
            package_price=Decimal("4.44"),
            free_units=Decimal(5),
        ),
    ]
)
FEES = tuple(
    FlatFee(id="fee", amount=Decimal(amount), billing=billing)
    for amount, billing in product(("49.00", "90.00", "0.01", "10.005"), get_args(Billing))
)


def versions(
    usage: st.SearchStrategy[UsageCharge],
) -> st.SearchStrategy[Mapping[int, tuple[Charge, ...]]]:
    """The charges of versions 1 to 3 of a plan."""
    return st.fixed_dictionaries({number: _version(number, usage) for number in (1, 2, 3)})


@st.composite
def _version(
    draw: st.DrawFn, number: int, usage: st.SearchStrategy[UsageCharge]
) -> tuple[Charge, ...]:
    """Charges have ids of their own in each version."""
    drawn: list[Charge] = [
        *draw(st.lists(st.sampled_from(FEES), max_size=2)),
        *draw(st.lists(usage, min_size=1, max_size=2)),
    ]
    return tuple(
        msgspec.structs.replace(charge, id=f"v{number}_{charge.id}_{place}")
        for place, charge in enumerate(drawn)
    )


plans = st.builds(
    Plan,
    start_at=st.sampled_from(
        [datetime(2026, 1, 31, 6, tzinfo=UTC), datetime(2024, 2, 10, tzinfo=UTC)]
    ),
    lead=st.sampled_from([timedelta(), timedelta(), 30 * HOUR]),
    lasts=st.sampled_from([None, None, 10 * DAY, 35 * DAY + HOUR]),
    cadence=st.sampled_from(
        [CADENCES["daily"], CADENCES["weekly"], CADENCES["monthly"], CADENCES["monthly"]]
    ),
    charges=versions(priced),
    steps=st.lists(st.tuples(st.sampled_from(AHEAD), _steps), min_size=10, max_size=24).map(tuple),
)

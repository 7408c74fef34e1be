"""What the property tests draw from: quantities, prices, charges, instants, cadences."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import strategies as st

from abaxus_core.domain.charges import Charge, Package, PerUnit, Tier, Tiered, Volume
from abaxus_core.domain.periods import Cadence

LARGEST = Decimal("9999999999999999999999999999.9999999999")
# A minus sign would round it to the 28 digits of the default context.
SMALLEST = LARGEST.copy_negate()

quantities = st.one_of(
    st.integers(0, 5_000).map(Decimal),
    st.decimals(min_value=0, max_value=LARGEST, places=10),
)
prices = st.one_of(
    st.sampled_from([Decimal(0), Decimal("0.00005"), Decimal("0.07"), Decimal(12)]),
    st.decimals(min_value=0, max_value=10_000, places=10),
)
edges = st.lists(
    st.one_of(
        st.integers(1, 5_000).map(Decimal),
        st.decimals(min_value=Decimal("0.0000000001"), max_value=10**9, places=10),
    ),
    unique=True,
    max_size=6,
).map(sorted)


@st.composite
def tiers(draw: st.DrawFn, *, flat_amounts: bool = True) -> tuple[Tier, ...]:
    up_to = [*draw(edges), None]
    flats = st.none() | prices if flat_amounts else st.none()
    return tuple(
        Tier(up_to=edge, unit_price=draw(prices), flat_amount=draw(flats)) for edge in up_to
    )


ID = "chg_any"
METRIC = "calls"

per_units = st.builds(PerUnit, id=st.just(ID), metric_key=st.just(METRIC), unit_price=prices)
graduated = st.builds(Tiered, id=st.just(ID), metric_key=st.just(METRIC), tiers=tiers())
volumes = st.builds(Volume, id=st.just(ID), metric_key=st.just(METRIC), tiers=tiers())
packages = st.builds(
    Package,
    id=st.just(ID),
    metric_key=st.just(METRIC),
    package_size=st.decimals(min_value=Decimal("0.01"), max_value=10_000, places=2),
    package_price=prices,
    free_units=st.none() | st.integers(0, 1_000).map(Decimal),
)
charges: st.SearchStrategy[Charge] = st.one_of(per_units, graduated, volumes, packages)

# Naive on purpose in the bounds only: hypothesis wants them so.
_FIRST = datetime(2000, 1, 1)  # noqa: DTZ001
_LAST = datetime(2099, 12, 31)  # noqa: DTZ001
instants = st.datetimes(_FIRST, _LAST, timezones=st.just(UTC))


@st.composite
def anchors(draw: st.DrawFn) -> datetime:
    """Any day of a month, the 29th to 31st as likely as the others, any time of day."""
    day = draw(st.integers(1, 31))
    year, month = draw(st.integers(2000, 2099)), draw(st.integers(1, 12))
    first = datetime(year, month, 1, tzinfo=UTC)
    time_of_day = timedelta(microseconds=draw(st.integers(0, 86_400_000_000 - 1)))
    candidate = first + timedelta(days=day - 1)
    return (candidate if candidate.month == month else first) + time_of_day


cadences = st.builds(
    Cadence,
    interval=st.sampled_from(["day", "week", "month", "year"]),
    count=st.one_of(st.sampled_from([1, 2, 3, 6, 12]), st.integers(1, 366)),
)

"""While a snapshot is said to hold, what it tells is what a document read now would tell."""

from datetime import timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from abaxus_core.domain.entitlement_documents import Snapshot, combined, holding, measures
from abaxus_core.domain.entitlement_phases import Catalogue, document_of
from abaxus_core.domain.entitlements import BooleanEntitlement, LimitEntitlement
from tests.property.test_entitlement_phases import HISTORIES, TERMS, customers
from tests.unit.domain.samples import metric

GRANTED = {
    terms: (
        LimitEntitlement(
            feature_key="calls", limit=Decimal(terms.plan_version), metric_key="calls"
        ),
        BooleanEntitlement(feature_key=f"only-{terms.plan_version}", value=True),
    )
    for terms in TERMS
}
CATALOGUE = Catalogue(granted=GRANTED, metrics={"calls": metric()})
passes = st.one_of(
    st.integers(-40, 200).map(lambda steps: steps * timedelta(hours=6)),
    st.timedeltas(timedelta(days=-30), timedelta(days=30)),
)


@settings(max_examples=HISTORIES)
@given(customers(), st.lists(passes, min_size=1, max_size=8))
def test_a_snapshot_holds(customer, passing) -> None:
    now, held = customer
    document = document_of(1, held, CATALOGUE, now=now)
    needed = measures(document, None, now) or ()
    used = {measure: Decimal(number) for number, measure in enumerate(needed)}
    snapshot = Snapshot(version=1, document=document, used=used, as_of=now)
    told = combined(snapshot, None, now)
    time = holding(snapshot)
    assert time is not None
    assert time.contains(now)
    for later in (now + each for each in passing):
        if time.contains(later):
            assert measures(document, None, later) == needed
            assert combined(snapshot, None, later) == told

"""Where two documents of a customer grant something else, and where they only say it otherwise."""

from msgspec.structs import replace

from abaxus_core.domain.entitlement_agreement import disagreement
from abaxus_core.domain.entitlement_documents import Document
from tests.unit.domain.samples import at, subscription
from tests.unit.domain.test_entitlement_documents import NOW, amended, resolved
from tests.unit.domain.test_lives import amendment

PAUSED = amended(amendment("pause", "2026-04-20"), amendment("resume", "2026-04-25"))


def differing(one: Document, other: Document, since: str) -> list[str | None] | None:
    """Until when the first stretches that differ last."""
    found = disagreement(one, other, at(since))
    return found and [each.until and each.until.isoformat() for each in found]


def test_what_is_over_is_not_compared() -> None:
    whole = resolved(subscription())
    assert disagreement(PAUSED, whole, at("2026-04-25")) is None
    assert differing(PAUSED, whole, "2026-04-24") == ["2026-04-25T00:00:00+00:00", None]


def test_a_document_that_is_cut_off_differs_in_nothing_it_does_not_tell() -> None:
    short = replace(PAUSED, phases=PAUSED.phases[:1])
    assert disagreement(PAUSED, short, NOW) is None
    assert disagreement(short, PAUSED, at("2026-05-01")) is None


def test_places_of_plans_do_not_matter_and_what_they_grant_does() -> None:
    one, other = subscription(id="sub_1"), subscription(id="sub_2", plan_version=2)
    both = resolved(one, other)
    swapped = replace(
        both,
        plans=both.plans[::-1],
        phases=tuple(
            replace(
                phase,
                running=tuple(replace(each, plan=1 - each.plan) for each in phase.running),
            )
            for phase in both.phases
        ),
    )
    assert disagreement(both, swapped, NOW) is None
    poorer = tuple(replace(plan, entitlements=plan.entitlements[:1]) for plan in both.plans)
    assert disagreement(both, replace(both, plans=poorer), NOW) is not None


def test_how_a_limit_counts_matters() -> None:
    document = resolved(subscription())
    (key, metering) = next(iter(document.meterings.items()))
    other = replace(document, meterings={key: replace(metering, metric_no=99)})
    assert disagreement(document, other, NOW) is not None

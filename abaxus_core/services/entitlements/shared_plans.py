"""What plan versions grant, kept once however many documents name it: a version never changes."""

from typing import Final

import msgspec

from abaxus_core.domain.entitlement_documents import Document, GrantingPlan
from abaxus_core.kernel.kept import Kept

PLANS_KEPT_MAX: Final = 4_096


class SharedPlans:
    def __init__(self) -> None:
        self._plans: Kept[tuple[str, int], GrantingPlan] = Kept(PLANS_KEPT_MAX)

    def sharing(self, document: Document) -> Document:
        """The same document, whose plans are those that other documents have."""
        return msgspec.structs.replace(document, plans=tuple(map(self._shared, document.plans)))

    def _shared(self, plan: GrantingPlan) -> GrantingPlan:
        key = plan.plan_id, plan.plan_version
        known = self._plans.get(key)
        if known is None:
            self._plans.put(key, plan)
        return known or plan

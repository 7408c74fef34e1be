"""What a customer was granted after each change, and whether a check may show what it shows.

Changes of one customer come one after another. A check that starts after a change was answered may
show the grant of that change or of one that was sent before the check ended: nothing older.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic

# By feature; None where it is not granted.
Grants = Mapping[str, str | None]


class Stale(AssertionError):
    """A check showed a grant older than a change that had been answered before it started."""


@dataclass(frozen=True, slots=True)
class Change:
    """`answered_s` is None until the answer has come; `what` says what was asked, through whom."""

    what: str
    grants: Grants
    sent_s: float
    answered_s: float | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One under way; `since` is the last change that was answered before it started."""

    through: str
    since: int
    started_s: float


@dataclass(slots=True)
class GrantHistory:
    """`pairs`: so many checks started after a change was answered, and were judged by it."""

    customer_id: str
    changes: list[Change] = field(default_factory=list)
    answered: int = -1
    pairs: int = 0

    def sent(self, what: str, grants: Grants) -> None:
        """A change is about to be asked for."""
        assert self.answered == len(self.changes) - 1, "one change after another"
        self.changes.append(Change(what, grants, monotonic()))

    def was_answered(self) -> None:
        """The change that was sent last holds for every check that starts from now on."""
        last = self.changes[-1]
        self.changes[-1] = Change(last.what, last.grants, last.sent_s, monotonic())
        self.answered = len(self.changes) - 1

    def start(self, through: str) -> Check:
        return Check(through, self.answered, monotonic())

    def judge(self, check: Check, shown: Grants) -> None:
        """Count the pair. Raises Stale."""
        if check.since < 0:
            return
        possible = self.changes[check.since :]
        if not any(_agrees(shown, change.grants) for change in possible):
            raise Stale(self._said(check, shown))
        self.pairs += 1

    def _said(self, check: Check, shown: Grants) -> str:
        change = self.changes[check.since]
        older = [one for one in self.changes[: check.since] if _agrees(shown, one.grants)]
        origin = f"what held after {older[-1].what}" if older else "what never held"
        assert change.answered_s is not None
        return (
            f"{self.customer_id}: {change.what} was sent at {change.sent_s:.4f} s and answered at "
            f"{change.answered_s:.4f} s with {change.grants}; a check through {check.through} "
            f"from {check.started_s:.4f} s to {monotonic():.4f} s shows {shown}, {origin}"
        )


def _agrees(shown: Grants, grants: Grants) -> bool:
    """Whether all that is shown is so."""
    return all(grants[feature] == value for feature, value in shown.items())

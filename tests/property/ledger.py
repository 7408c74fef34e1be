"""What lines add up to, as the database would say it of them."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from abaxus_core.domain.decimals import exact
from abaxus_core.domain.invoices import Line
from abaxus_core.domain.true_up import Billed, ChargeKey, key_of_line


def billed_by(lines: Iterable[Line]) -> dict[ChargeKey, Billed]:
    billed: dict[ChargeKey, Billed] = defaultdict(Billed)
    for line in lines:
        before = billed[key_of_line(line)]
        with exact():
            billed[key_of_line(line)] = Billed(
                amount_minor=before.amount_minor + line.amount_minor,
                exact_amount=before.exact_amount + line.exact_amount,
                revisions=before.revisions + 1,
            )
    return billed


def billed_to(lines: Iterable[Line], open_from: datetime) -> dict[datetime, datetime]:
    """How far lines went into each period that starts at or after `open_from`."""
    reached: dict[datetime, datetime] = {}
    for line in lines:
        assert line.period_start is not None
        assert line.window_end is not None
        latest = reached.get(line.period_start, line.window_end)
        reached[line.period_start] = max(latest, line.window_end)
    return {start: end for start, end in reached.items() if start >= open_from}

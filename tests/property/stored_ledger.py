"""What a database holds of a stored history, against one rating of everything by brute force."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from abaxus_core.domain.amendments import Amendment
from abaxus_core.kernel.database import Database
from tests.property.life_oracle import Key, Story, moved, owed, taking_effect
from tests.property.stored_buyers import Buyer, Held
from tests.support.metering import fetch

AMENDMENTS = """
    SELECT amendment_id AS id, subscription_id, type, effective, effective_at, status, plan_id,
        plan_version, prorate, resume_at, end_at, created_at
    FROM amendments
    WHERE subscription_id = $1
    ORDER BY effective_at, created_at = effective_at,
        CASE WHEN created_at < effective_at THEN amendment_id END, applied_no
"""
BILLED = """
    SELECT period_start, segment_start, charge_id, sum(amount_minor)::bigint
    FROM invoice_lines
    WHERE subscription_id = $1
    GROUP BY period_start, segment_start, charge_id
"""
COLLECTED = """
    SELECT
        coalesce((SELECT sum(total_minor) FROM invoices WHERE customer_no = c.customer_no), 0)
            - coalesce(
                (SELECT sum(amount_minor) FROM customer_credits WHERE customer_no = c.customer_no),
                0
            )
    FROM customers AS c
    WHERE customer_id = $1
"""
INVOICES = """
    SELECT count(*)
    FROM invoices AS i
    JOIN customers AS c ON c.customer_no = i.customer_no
    WHERE c.customer_id = $1
"""
NUMBERS = "SELECT count(*), coalesce(max(number), 0), (SELECT value FROM counters) FROM invoices"


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """Reads past the product."""

    database: Database

    async def check(self, buyer: Buyer, cutoff: datetime, now: datetime) -> None:
        """All lines ever issued to the customer are one rating of all its events."""
        total_minor = 0
        for held in buyer.held:
            billed = await self._billed(held)
            rated = owed(await self._story(held, now), buyer.events, cutoff)
            assert moved(billed) == moved({key: one.minor for key, one in rated.items()})
            total_minor += sum(billed.values())
        ((collected,),) = await fetch(self.database, COLLECTED, buyer.id)
        assert collected == total_minor

    async def check_applied(self, held: Held, now: datetime) -> None:
        """What took effect is what could, in its order."""
        known = await self.amendments(held)
        applied = [one.id for one in known if one.status == "applied"]
        assert [one.id for one in (await self._story(held, now)).amendments] == applied

    async def check_numbers(self) -> None:
        """They have no gap."""
        ((made, highest, counted),) = await fetch(self.database, NUMBERS)
        assert made == highest == counted

    async def invoices(self, buyer: Buyer) -> int:
        """How many were issued to the customer."""
        ((number,),) = await fetch(self.database, INVOICES, buyer.id)
        assert isinstance(number, int)
        return number

    async def amendments(self, held: Held) -> list[Amendment]:
        """In order of taking effect: at one instant, what waited for it before what asks for it."""
        async with self.database.connection() as conn:
            rows = await conn.fetch(AMENDMENTS, held.id)
        return [Amendment(**dict(row)) for row in rows]

    async def _story(self, held: Held, now: datetime) -> Story:
        known = await self.amendments(held)
        asked = [one for one in known if one.status != "cancelled" and one.effective_at <= now]
        return taking_effect(held.story, asked)

    async def _billed(self, held: Held) -> dict[Key, int]:
        rows: list[Any] = await fetch(self.database, BILLED, held.id)
        return {(period, segment, charge): minor for period, segment, charge, minor in rows}

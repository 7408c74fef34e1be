"""Calculations: what a customer would be invoiced now, kept a day; and what a plan would cost.

A preview is a pure function of a plan and quantities, and nothing of it is stored.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal

import msgspec

from abaxus_core.domain.instants import end_of, start_of
from abaxus_core.domain.invoices import Line, draft
from abaxus_core.domain.periods import Period
from abaxus_core.domain.statements import check_amounts, preview_lines
from abaxus_core.errors import InvalidInput
from abaxus_core.kernel.database import Connection
from abaxus_core.repositories import amendments as amendment_rows
from abaxus_core.repositories import calculations as repository
from abaxus_core.repositories.calculations import Calculation
from abaxus_core.services import amendments, customers, price_plans
from abaxus_core.services.rating import Statement, statements
from abaxus_core.services.sheets import Ask
from abaxus_core.services.work import Work

KEPT_FOR = timedelta(hours=24)
# An expired one can still be told from one that never was.
EXPIRED_KEPT_FOR = timedelta(days=7)
DELETED_AT_ONCE_MAX = 5_000
AHEAD_MAX = timedelta(days=366)


class NewCalculation(msgspec.Struct, frozen=True, kw_only=True):
    """For billing periods that overlap [start, end); a day as the end counts whole."""

    customer_id: str
    start: date | datetime
    end: date | datetime


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """A whole period under a plan version."""

    plan_id: str
    plan_version: int
    currency: str
    total_minor: int
    lines: tuple[Line, ...]


async def calculate(work: Work, new: NewCalculation, watermark: int) -> Calculation:
    """Return the stored lines that the customer would be invoiced at the end of the time asked.

    They count what was billed before, and the credit. Raises CUSTOMER_NOT_FOUND.
    """
    customer = await customers.get(work.conn, new.customer_id)
    within = _within(new, work.now)
    await amendments.apply_due_of_customers(work, [customer.customer_no])
    amendments_applied = await amendment_rows.count_applied(work.conn, customer.customer_no)
    ask = Ask(cutoff=within.end, watermark=watermark, within=within)
    (statement,) = await statements(work.conn, [customer.customer_no], ask)
    calculation = _calculation(work, within.start, statement, amendments_applied)
    await repository.insert(work.conn, calculation)
    return calculation


def _within(new: NewCalculation, now: datetime) -> Period:
    within = Period(start=start_of(new.start), end=end_of(new.end))
    if within.end <= within.start:
        raise InvalidInput("must lie after period_start", field="period_end")
    if within.end > now + AHEAD_MAX:
        raise InvalidInput("must not be more than a year ahead", field="period_end")
    return within


def _calculation(
    work: Work, start: datetime, statement: Statement, amendments_applied: int
) -> Calculation:
    lines, total_minor = _lines_and_total(statement)
    return Calculation(
        id=work.ids.new("calc"),
        customer_no=statement.account.customer_no,
        customer_sequence=statement.account.last_sequence,
        amendments_applied=amendments_applied,
        period_start=start,
        period_end=statement.cutoff,
        currency=statement.account.currency,
        total_minor=total_minor,
        lines=lines,
        created_at=work.now,
        expires_at=work.now + KEPT_FOR,
    )


def _lines_and_total(statement: Statement) -> tuple[tuple[Line, ...], int]:
    currency = statement.account.currency
    if currency is None or not statement.lines:
        return (), 0
    drawn = draft(statement.lines, currency=currency, credit_minor=statement.credit_minor)
    return drawn.lines, drawn.total_minor


async def preview(
    conn: Connection,
    plan_id: str,
    version: int | None,
    usage: Mapping[str, Decimal],
    *,
    now: datetime,
) -> Preview:
    """Return what quantities, by metric, cost in a whole period; version None: the active one.

    Raises PLAN_NOT_FOUND, PLAN_VERSION_NOT_FOUND.
    """
    if version is None:
        placed = await price_plans.get(conn, plan_id, now=now)
    else:
        placed = await price_plans.get_version(conn, plan_id, version, now=now)
    plan = placed.version
    lines = tuple(
        msgspec.structs.replace(line, plan_id=plan.plan_id, plan_version=plan.version)
        for line in preview_lines(plan.charges, usage, plan.currency)
    )
    check_amounts(lines)
    return Preview(
        plan_id=plan.plan_id,
        plan_version=plan.version,
        currency=plan.currency,
        total_minor=sum(line.amount_minor for line in lines),
        lines=lines,
    )


async def prune(work: Work) -> int:
    """Return how many long expired calculations were deleted, some thousands at a time."""
    return await repository.delete_expired(
        work.conn,
        expired_before=work.now - EXPIRED_KEPT_FOR,
        rows_max=DELETED_AT_ONCE_MAX,
    )

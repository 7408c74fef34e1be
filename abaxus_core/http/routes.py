"""The API's table of contents: each resource module says what it answers."""

from collections.abc import Sequence

from abaxus_core.http import (
    amendments,
    api_keys,
    audit,
    customers,
    entitlements,
    event_conflicts,
    events,
    invoice_lines,
    invoice_pages,
    invoices,
    jobs,
    metrics,
    payments,
    price_plans,
    pricing,
    reservations,
    subscriptions,
    usage,
    verification,
    webhooks,
)
from abaxus_core.http.endpoint import Endpoint

ENDPOINTS: Sequence[Endpoint] = (
    *metrics.ENDPOINTS,
    *price_plans.ENDPOINTS,
    *customers.ENDPOINTS,
    *subscriptions.ENDPOINTS,
    *amendments.ENDPOINTS,
    *entitlements.ENDPOINTS,
    *reservations.ENDPOINTS,
    *events.ENDPOINTS,
    *event_conflicts.ENDPOINTS,
    *usage.ENDPOINTS,
    *pricing.ENDPOINTS,
    *invoices.ENDPOINTS,
    *invoice_lines.ENDPOINTS,
    *payments.ENDPOINTS,
    *webhooks.ENDPOINTS,
    *verification.ENDPOINTS,
    *invoice_pages.ENDPOINTS,
    *jobs.ENDPOINTS,
    *api_keys.ENDPOINTS,
    *audit.ENDPOINTS,
)

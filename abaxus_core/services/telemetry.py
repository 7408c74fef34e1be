"""What operators watch: the process's counters and histograms, for Prometheus to collect.

One `Telemetry` per process, made by the composition root. Labels are names from our own code
(routes, job kinds, outcomes), never ids, so that their number is bounded. The numbers of the
database, such as how long the queue is, are read when asked for: http/health.py.
"""

from collections import defaultdict
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from abaxus_core.services.request_times import NS_PER_SECOND, RequestTimes

# A caller may send any word as a method.
METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
JOB_BUCKETS_S = ("0.005", "0.025", "0.1", "0.5", "2.5", "10", "60", "300")

WAITING = {
    "inbox_rows": "Accepted requests whose events have not landed, by mode.",
    "inbox_events": "Accepted events that have not landed, by mode.",
    "inbox_age_seconds": "For how long the oldest of them has waited, by mode.",
    "quarantine_rows": "Accepted requests that could not land and were set aside, by mode.",
}

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Telemetry:
    """The registry, and a method for each thing worth counting."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = RequestTimes()
        self._registry.register(self._requests)
        self._errors = Counter(
            "abaxus_errors_total",
            "Answers that were errors, by code.",
            ("code",),
            registry=self._registry,
        )
        self._events = Counter(
            "abaxus_events_total",
            "Usage events by mode and what became of them.",
            ("mode", "outcome"),
            registry=self._registry,
        )
        self._conflicts = Counter(
            "abaxus_event_conflicts_total",
            "Payloads that came second under a key and are not stored, by mode.",
            ("mode",),
            registry=self._registry,
        )
        self._jobs = Histogram(
            "abaxus_job_seconds",
            "Time a job's run took, by mode, kind and outcome.",
            ("mode", "kind", "outcome"),
            buckets=JOB_BUCKETS_S,
            registry=self._registry,
        )
        self._payments = Counter(
            "abaxus_payment_attempts_total",
            "Attempts to collect an invoice, by mode, provider and outcome.",
            ("mode", "provider", "outcome"),
            registry=self._registry,
        )
        self._unsettled = Gauge(
            "abaxus_payments_unsettled",
            "Attempts whose outcome is still to come, by mode and state.",
            ("mode", "state"),
            registry=self._registry,
        )
        self._mails = Counter(
            "abaxus_mails_total",
            "Mails handed to a provider, by mode, provider and outcome.",
            ("mode", "provider", "outcome"),
            registry=self._registry,
        )
        self._mails_failed = Counter(
            "abaxus_mails_failed_total",
            "Mails that will not be sent any more, by mode and reason.",
            ("mode", "reason"),
            registry=self._registry,
        )
        self._queued = Gauge(
            "abaxus_jobs_queued",
            "Jobs that wait or run, by mode and kind.",
            ("mode", "kind", "state"),
            registry=self._registry,
        )
        self._waiting = {
            what: Gauge(f"abaxus_{what}", help_text, ("mode",), registry=self._registry)
            for what, help_text in WAITING.items()
        }
        self._entitlement_reads = Counter(
            "abaxus_entitlement_cache_reads_total",
            "Checks that asked the cache, by mode and what became of it.",
            ("mode", "outcome"),
            registry=self._registry,
        )
        self._entitlement_fills = Counter(
            "abaxus_entitlement_cache_fills_total",
            "Entitlements read from PostgreSQL for the cache, by mode and what became of it.",
            ("mode", "outcome"),
            registry=self._registry,
        )
        self._entitlement_changes = Counter(
            "abaxus_entitlement_cache_invalidations_total",
            "Changes of entitlements that the cache was told of, by mode and outcome.",
            ("mode", "outcome"),
            registry=self._registry,
        )
        self._entitlement_kept = Counter(
            "abaxus_entitlement_kept_total",
            "Checks answered by what the process had read before and PostgreSQL said still holds.",
            ("mode",),
            registry=self._registry,
        )
        self._entitlement_given_up = Counter(
            "abaxus_entitlement_given_up_total",
            "Changes of entitlements after which no process gives what it had kept, by mode and"
            " outcome.",
            ("mode", "outcome"),
            registry=self._registry,
        )
        self._entitlement_looks = Counter(
            "abaxus_entitlement_looks_total",
            "Looks into PostgreSQL that checks took, by mode; many share a statement.",
            ("mode",),
            registry=self._registry,
        )
        self._entitlement_statements = Counter(
            "abaxus_entitlement_statements_total",
            "Statements that those looks took, by mode.",
            ("mode",),
            registry=self._registry,
        )
        self._entitlement_slow_reads = Counter(
            "abaxus_entitlement_slow_reads_total",
            "What checks had to wait for on the slow lane, by mode and what it was.",
            ("mode", "what"),
            registry=self._registry,
        )
        self._redis_up = Gauge(
            "abaxus_redis_up",
            "Whether Redis is used now (1) or left alone until it answers again (0), by link.",
            ("link",),
            registry=self._registry,
        )
        self._redis_losses = Counter(
            "abaxus_redis_losses_total",
            "Times that Redis did not answer in time, or not at all, by link.",
            ("link",),
            registry=self._registry,
        )
        # One a check: adding up here costs a tenth of what the Counter takes for each.
        self._reads_uncounted: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._kept_uncounted: defaultdict[str, int] = defaultdict(int)

    def request_answered(self, method: str, route: str, status: int, took_ns: int) -> None:
        """`route` is the path's template, or "none" where no route matched."""
        self._requests.add((method if method in METHODS else "other", route, status), took_ns)

    def error_answered(self, code: str) -> None:
        self._errors.labels(code).inc()

    def events_seen(self, mode: str, outcome: str, count: int) -> None:
        """`outcome`: accepted, duplicate or rejected."""
        self._events.labels(mode, outcome).inc(count)

    def conflicts_recorded(self, mode: str, count: int) -> None:
        self._conflicts.labels(mode).inc(count)

    def job_ended(self, mode: str, kind: str, outcome: str, took_ns: int) -> None:
        """`outcome`: completed, retried, snoozed, discarded."""
        self._jobs.labels(mode, kind, outcome).observe(took_ns / NS_PER_SECOND)

    def payment_attempted(self, mode: str, provider: str, outcome: str) -> None:
        self._payments.labels(mode, provider, outcome).inc()

    def mail_handed_over(self, mode: str, provider: str, outcome: str) -> None:
        self._mails.labels(mode, provider, outcome).inc()

    def entitlements_read(self, mode: str, outcome: str) -> None:
        """`outcome`: hit, miss, unusable, away."""
        self._reads_uncounted[mode, outcome] += 1

    def entitlements_kept(self, mode: str) -> None:
        self._kept_uncounted[mode] += 1

    def entitlements_looked(self, mode: str, looks: int) -> None:
        """One statement for so many."""
        self._entitlement_looks.labels(mode).inc(looks)
        self._entitlement_statements.labels(mode).inc()

    def entitlements_read_slowly(self, mode: str, what: str) -> None:
        """`what`: document, raw_part, exact."""
        self._entitlement_slow_reads.labels(mode, what).inc()

    def entitlements_filled(self, mode: str, outcome: str) -> None:
        """`outcome`: stored, overtaken, too_large, refused, away."""
        self._entitlement_fills.labels(mode, outcome).inc()

    def entitlements_invalidated(self, mode: str, outcome: str) -> None:
        """`outcome`: confirmed, waited_out, unconfirmed."""
        self._entitlement_changes.labels(mode, outcome).inc()

    def entitlements_given_up(self, mode: str, outcome: str) -> None:
        """`outcome`: alone, waited_out."""
        self._entitlement_given_up.labels(mode, outcome).inc()

    def redis_changed(self, link: str, up: bool) -> None:
        """`link`: reads, changes."""
        self._redis_up.labels(link).set(int(up))
        if not up:
            self._redis_losses.labels(link).inc()

    def mails_failed(self, mode: str, reason: str, count: int) -> None:
        """`reason`: rejected, given_up, abandoned."""
        self._mails_failed.labels(mode, reason).inc(count)

    def payments_measured(self, unsettled: Mapping[str, Mapping[str, int]]) -> None:
        """Attempts without an outcome as they are now: mode → state → attempts; replaces it."""
        self._unsettled.clear()
        for mode, measured in unsettled.items():
            for state, attempts in measured.items():
                self._unsettled.labels(mode, state).set(attempts)

    def queue_measured(self, queued: dict[tuple[str, str, str], int]) -> None:
        """The queue as it is now: (mode, kind, state) → jobs; replaces what was known."""
        self._queued.clear()
        for (mode, kind, state), count in queued.items():
            self._queued.labels(mode, kind, state).set(count)

    def inbox_measured(self, waiting: Mapping[str, Mapping[str, int]]) -> None:
        """What is accepted and not stored, as it is now: mode → WAITING's names; replaces it."""
        for what, gauge in self._waiting.items():
            gauge.clear()
            for mode, measured in waiting.items():
                gauge.labels(mode).set(measured[what])

    def exposition(self) -> bytes:
        """All of it in Prometheus's text format (`CONTENT_TYPE`)."""
        for labels, count in self._reads_uncounted.items():
            self._entitlement_reads.labels(*labels).inc(count)
        self._reads_uncounted.clear()
        for mode, count in self._kept_uncounted.items():
            self._entitlement_kept.labels(mode).inc(count)
        self._kept_uncounted.clear()
        return generate_latest(self._registry)

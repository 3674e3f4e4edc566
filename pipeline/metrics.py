"""The one catalogue of metrics.  A metric that is not in the table does not exist; the documentation is made from the table.

Labels are bounded sets only: never a person, an address or a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

Form = Literal["counter", "gauge", "histogram"]
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    form: Form
    help: str
    labels: tuple[str, ...] = ()


CATALOGUE = (
    Metric("activity_worker_records_total", "counter", "Source records by what became of them", ("topic", "outcome")),
    Metric("activity_worker_rejects_total", "counter", "Rejected records by reason", ("topic", "reason")),
    Metric("activity_worker_changelog_records_total", "counter", "Records written to a changelog", ("topic",)),
    Metric("activity_worker_flush_seconds", "histogram", "From the start of a flush until it is durable"),
    Metric("activity_worker_open_fragments", "gauge", "Fragments held in memory", ("topic",)),
    Metric("activity_worker_recovery_seconds", "gauge", "Length of the last start of partitions"),
    Metric(
        "activity_worker_lag_records", "gauge", "Source records not yet in a durable ledger", ("topic", "partition")
    ),
    Metric(
        "activity_worker_reject_alarm",
        "gauge",
        "1 while more than half of the last 10,000 records are rejected",
        ("topic",),
    ),
    Metric("activity_store_rows_total", "counter", "Rows projected into the report store", ("table",)),
    Metric("activity_store_lag_records", "gauge", "Records of a topic not yet in the report store", ("topic",)),
    Metric(
        "activity_store_refused_records_total",
        "counter",
        "Changelog records of an earlier owner that were refused",
        ("topic",),
    ),
    Metric(
        "activity_visible_seconds",
        "histogram",
        "From the append of the oldest source record behind a ledger until its effect can be queried",
    ),
    Metric("activity_reports_runs_total", "counter", "Report runs by kind and final state", ("kind", "state")),
    Metric("activity_snapshot_seconds", "histogram", "Length of computing the rolling windows once"),
    Metric(
        "activity_snapshot_behind_seconds", "gauge", "Age of the instant up to which the rolling windows are complete"
    ),
    Metric(
        "activity_reports_retries_total", "counter", "Makings of a report that failed and are tried again", ("kind",)
    ),
    Metric("activity_reports_queue_runs", "gauge", "Runs in the queue, held or not", ("lane",)),
    Metric("activity_mails_total", "counter", "Mails by what became of them", ("outcome",)),
    Metric("activity_redis_up", "gauge", "1 while Redis answers the reports service"),
    Metric("activity_silent_speakers", "gauge", "Connectors and sources that used to speak and are silent", ("kind",)),
    Metric("activity_web_requests_total", "counter", "Requests by kind of answer", ("surface", "status")),
    Metric("activity_access_refusals_total", "counter", "Requests that were not let in, by why", ("reason",)),
    Metric("activity_sync_events_total", "counter", "Events delivered", ("destination",)),
    Metric("activity_sync_objects_total", "counter", "Objects that are there, whoever put them", ("destination",)),
    Metric("activity_sync_stored_bytes_total", "counter", "Bytes of those objects", ("destination",)),
    Metric(
        "activity_sync_lag_records",
        "gauge",
        "Source records not yet delivered, of the partitions that this process holds",
        ("destination",),
    ),
    Metric(
        "activity_sync_lag_seconds",
        "gauge",
        "Age of the oldest record in hand; NaN: something is to be delivered that is not in hand",
        ("destination",),
    ),
    Metric("activity_sync_held_bytes", "gauge", "Memory held in batches", ("destination",)),
    Metric("activity_sync_failing_partitions", "gauge", "Partitions whose delivery is being retried", ("destination",)),
    Metric(
        "activity_sync_lost_records",
        "gauge",
        "Source records that retention took first, since this process owns their partitions",
        ("destination",),
    ),
    Metric("activity_sync_notices_total", "counter", "Notices by type and what became of them", ("type", "outcome")),
    Metric("activity_audit_lost_total", "counter", "Audit records that could not be written"),
    Metric("activity_reports_build_seconds", "histogram", "Length of building one report", ("kind",)),
)


class Metrics:
    """The catalogue alive in one process.  `metrics["activity_…"].labels(…)` is the vendor's object; an unknown name is a KeyError."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._made: dict[str, Any] = {m.name: self._make(m) for m in CATALOGUE}

    def _make(self, metric: Metric) -> Any:
        match metric.form:
            case "counter":
                return Counter(metric.name, metric.help, metric.labels, registry=self.registry)
            case "gauge":
                return Gauge(metric.name, metric.help, metric.labels, registry=self.registry)
            case "histogram":
                return Histogram(metric.name, metric.help, metric.labels, registry=self.registry, buckets=SECONDS)

    def __getitem__(self, name: str) -> Any:
        return self._made[name]

    def exposition(self) -> bytes:
        """Prometheus text form."""
        return generate_latest(self.registry)

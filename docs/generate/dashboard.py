"""Generates the Grafana dashboard, as JSON for provisioning: throughput, lag, errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec import json

DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
#: Grafana's grid is 24 wide: three panels per row.
WIDTH, HEIGHT, COLUMNS = 8, 8, 3
RATE = "[$__rate_interval]"


class Query(NamedTuple):
    expression: str
    legend: str


class Panel(NamedTuple):
    title: str
    #: Grafana's unit: reqps, s, bytes, short, …
    unit: str
    queries: tuple[Query, ...]


def rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{RATE}))"


def lag(metric: str) -> str:
    """A group's lag by topic; every member reports all partitions."""
    return f"sum by (topic) (max by (topic, partition) ({metric}))"


def quantiles(histogram: str, title: str) -> Panel:
    """A panel with p50, p99 and p99.9 of a histogram of seconds."""
    return Panel(
        title,
        "s",
        tuple(
            Query(f"histogram_quantile({quantile}, sum by (le) (rate({histogram}_bucket{RATE})))", legend)
            for quantile, legend in ((0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"))
        ),
    )


ROWS: dict[str, tuple[Panel, ...]] = {
    "Overview": (
        Panel("Ready", "short", (Query("postbacks_ready", "{{job}} {{instance}}"),)),
        Panel(
            "Throughput by stage",
            "reqps",
            (
                Query(rate("postbacks_gateway_requests_total", "job"), "requests"),
                Query(
                    rate('postbacks_streams_merged_total{topic!="contact_events"}', "job"), "postbacks merged"
                ),
                Query(rate("postbacks_sinks_rows_total", "job"), "rows inserted"),
            ),
        ),
        Panel(
            "Age of the newest row",
            "s",
            (Query("min by (table) (postbacks_sinks_freshness_seconds)", "{{table}}"),),
        ),
    ),
    "Gateway": (
        Panel(
            "Requests by status",
            "reqps",
            (Query(rate("postbacks_gateway_requests_total", "answer"), "{{answer}}"),),
        ),
        Panel(
            "Requests by type",
            "reqps",
            (Query(rate("postbacks_gateway_requests_total", "type"), "{{type}}"),),
        ),
        quantiles("postbacks_gateway_request_seconds", "Request duration"),
        Panel(
            "Bytes received", "Bps", (Query(rate("postbacks_gateway_request_bytes_total", "job"), "bodies"),)
        ),
        Panel("Connections", "short", (Query("postbacks_gateway_connections", "{{instance}}"),)),
        Panel(
            "Records per batch",
            "short",
            (
                Query(
                    f"sum(rate(postbacks_gateway_batch_records_sum{RATE})) "
                    f"/ sum(rate(postbacks_gateway_batch_records_count{RATE}))",
                    "mean",
                ),
            ),
        ),
        Panel(
            "Failed reloads",
            "short",
            (Query("increase(postbacks_gateway_reload_failures_total[1h])", "{{instance}}"),),
        ),
        Panel(
            "Kafka errors",
            "short",
            (
                Query(rate("postbacks_gateway_produce_errors_total", "error"), "{{error}}"),
                Query(rate("postbacks_gateway_kafka_clients_recreated_total", "job"), "clients recreated"),
                Query("max(postbacks_gateway_underreplicated_partitions)", "under-replicated partitions"),
            ),
        ),
        Panel(
            "Spool",
            "short",
            (
                Query("sum(postbacks_gateway_spool_records)", "records spooled"),
                Query(rate("postbacks_gateway_spooled_total", "job"), "spooled per second"),
                Query("sum(postbacks_gateway_spools_damaged_total)", "damaged files"),
            ),
        ),
        Panel(
            "Spool usage",
            "percentunit",
            (Query("postbacks_gateway_spool_bytes / postbacks_gateway_spool_limit_bytes", "{{instance}}"),),
        ),
        Panel(
            "Age of the oldest spooled record",
            "s",
            (Query("postbacks_gateway_spool_age_seconds", "{{instance}}"),),
        ),
        Panel(
            "Age of as_of of contacts",
            "s",
            (
                Query(
                    "time() - (postbacks_gateway_contacts_as_of_timestamp_seconds > 0)",
                    "{{instance}}",
                ),
            ),
        ),
    ),
    "Streams": (
        Panel(
            "Lag",
            "short",
            (
                Query(lag("postbacks_streams_lag_records"), "{{topic}}"),
                Query("max(postbacks_streams_unowned_partitions)", "partitions without an owner"),
            ),
        ),
        quantiles("postbacks_streams_batch_seconds", "Batch duration"),
        Panel("States", "short", (Query("postbacks_streams_states", "{{topic}} on {{instance}}"),)),
        Panel(
            "Restore",
            "short",
            (
                Query("postbacks_streams_recovery_left_records", "{{topic}} left on {{instance}}"),
                Query(
                    rate("postbacks_streams_states_recovered_total", "instance"), "{{instance}} per second"
                ),
            ),
        ),
        Panel(
            "Writes to changelogs",
            "reqps",
            (
                Query(rate("postbacks_streams_states_written_total", "topic"), "{{topic}}"),
                Query(rate("postbacks_streams_tombstones_total", "job"), "tombstones"),
                Query(rate("postbacks_streams_overdue_total", "job"), "marked overdue"),
                Query(rate("postbacks_streams_unsent_total", "job"), "marked unsent"),
            ),
        ),
        Panel(
            "Foreign writes",
            "short",
            (
                Query(rate("postbacks_streams_lease_lost_total", "instance"), "lease lost, {{instance}}"),
                Query(
                    rate("postbacks_streams_changelog_repairs_total", "instance"),
                    "changelog repairs, {{instance}}",
                ),
            ),
        ),
    ),
    "Sinks": (
        Panel(
            "Lag",
            "short",
            (
                Query(lag("postbacks_sinks_lag_records"), "{{topic}}"),
                Query("max(postbacks_sinks_unowned_partitions)", "partitions without an owner"),
            ),
        ),
        quantiles("postbacks_sinks_insert_seconds", "Insert duration, with retries"),
        Panel("Rows", "reqps", (Query(rate("postbacks_sinks_rows_total", "table"), "{{table}}"),)),
        Panel("Retries", "short", (Query(rate("postbacks_sinks_retries_total", "part"), "{{part}}"),)),
        Panel(
            "Rows refused by ClickHouse",
            "short",
            (Query(rate("postbacks_sinks_refused_total", "table"), "{{table}}"),),
        ),
        Panel(
            "Rejected",
            "short",
            (Query(rate("postbacks_rejected_total", "stage, reason"), "{{stage}}: {{reason}}"),),
        ),
        Panel(
            "Texted after an opt-out, last 24 hours",
            "short",
            (Query("max by (account) (postbacks_sinks_texted_after_stop_messages)", "{{account}}"),),
        ),
        Panel(
            "Texted in quiet hours, last 24 hours",
            "short",
            (Query("max by (account) (postbacks_sinks_texted_in_quiet_hours_messages)", "{{account}}"),),
        ),
    ),
    "Automatic responses": (
        Panel(
            "Decisions",
            "reqps",
            (Query(rate("postbacks_respond_decisions_total", "reason"), "{{reason}}"),),
        ),
        Panel(
            "Outcomes",
            "reqps",
            (Query(rate("postbacks_respond_outcomes_total", "outcome"), "{{outcome}}"),),
        ),
        Panel("In flight", "short", (Query("sum(postbacks_respond_in_flight)", "in flight"),)),
        Panel(
            "Lag",
            "short",
            (
                Query(lag("postbacks_respond_lag_records"), "{{topic}}"),
                Query("max(postbacks_respond_unowned_partitions)", "partitions without an owner"),
            ),
        ),
    ),
}


def page() -> str:
    dashboard = {
        "uid": "postbacks",
        "title": "Postbacks",
        "tags": ["postbacks"],
        "timezone": "utc",
        "schemaVersion": 41,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "panels": list(_panels()),
    }
    return json.format(json.encode(dashboard), indent=1).decode() + "\n"


def expressions() -> list[str]:
    """Every query of the dashboard."""
    return [query.expression for row in ROWS.values() for panel in row for query in panel.queries]


def _panels() -> Iterator[dict[str, Any]]:
    number, y = 0, 0
    for title, panels in ROWS.items():
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "gridPos": {"x": 0, "y": y, "w": WIDTH * COLUMNS, "h": 1},
            "panels": [],
        }
        y += 1
        for index, panel in enumerate(panels):
            number += 1
            x, line = index % COLUMNS * WIDTH, index // COLUMNS * HEIGHT
            yield _panel(panel, number, {"x": x, "y": y + line, "w": WIDTH, "h": HEIGHT})
        y += -(-len(panels) // COLUMNS) * HEIGHT


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": DATASOURCE,
                "expr": query.expression,
                "legendFormat": query.legend,
            }
            for index, query in enumerate(panel.queries)
        ],
    }

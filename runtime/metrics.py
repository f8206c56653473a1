"""Every metric of the project: kind, unit and meaning.

Label values are bounded: accounts, phone numbers, tokens and anything else that a stranger can multiply are
never labels. Names follow Prometheus: `postbacks_<package>_<what>_<unit>`. Each process also exports the
metrics of the other packages, at 0.

Several gateway processes report as one (`runtime/multiprocess_metrics.py`): counters add up, and each gauge
has a `multiprocess_mode`.
"""

from __future__ import annotations

import os

from prometheus_client import Counter, Gauge, Histogram, values

#: Environment variable of prometheus_client: a directory shared by processes that report as one.
MULTIPROC_DIR = "PROMETHEUS_MULTIPROC_DIR"
#: Ours: a process's name in that directory. A restarted process has the same name and continues its counters;
#: with the default, the process id, each restart would leave behind files that are read forever.
MULTIPROC_NAME = "PROMETHEUS_MULTIPROC_NAME"
if _name := os.environ.get(MULTIPROC_NAME):
    values.ValueClass = values.MultiProcessValue(lambda: _name)  # type: ignore[no-untyped-call]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

REQUESTS = Counter(
    "postbacks_gateway_requests_total",
    "Requests answered, by type of postback (or submission, contact) and HTTP status.",
    ["type", "answer"],
)
REQUEST_SECONDS = Histogram(
    "postbacks_gateway_request_seconds",
    "Time from a request's head to its response, without lookups of contacts.",
    buckets=SECONDS,
)
REQUEST_BYTES = Counter("postbacks_gateway_request_bytes_total", "Bytes of request bodies received.")
CONNECTIONS = Gauge(
    "postbacks_gateway_connections", "Open connections to the public port.", multiprocess_mode="livesum"
)
RELOAD_FAILURES = Counter(
    "postbacks_gateway_reload_failures_total",
    "Changed files (accounts, certificate) that were invalid; the previous version stays.",
)
BATCH_RECORDS = Histogram(
    "postbacks_gateway_batch_records",
    "Records per batch produced to Kafka.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
)
PRODUCE_ERRORS = Counter(
    "postbacks_gateway_produce_errors_total", "Batches that Kafka did not acknowledge.", ["error"]
)
CLIENTS_RECREATED = Counter(
    "postbacks_gateway_kafka_clients_recreated_total",
    "Kafka clients recreated, as the last one was stuck or knew no broker that answers.",
)
SPOOLED = Counter("postbacks_gateway_spooled_total", "Records spooled to disk, as Kafka was unavailable.")
SPOOL_RECORDS = Gauge(
    "postbacks_gateway_spool_records",
    "Spooled records that are not published yet.",
    multiprocess_mode="livesum",
)
SPOOL_BYTES = Gauge(
    "postbacks_gateway_spool_bytes", "Bytes of those records on disk.", multiprocess_mode="livesum"
)
SPOOL_LIMIT_BYTES = Gauge(
    "postbacks_gateway_spool_limit_bytes",
    "Size at which the spool is full and postbacks get 503.",
    multiprocess_mode="livesum",
)
SPOOL_AGE = Gauge(
    "postbacks_gateway_spool_age_seconds",
    "Age of the oldest spooled record.",
    multiprocess_mode="livemax",
)
SPOOLS_DAMAGED = Counter(
    "postbacks_gateway_spools_damaged_total", "Damaged spool files that were quarantined."
)
UNDERREPLICATED = Gauge(
    "postbacks_gateway_underreplicated_partitions",
    "Partitions of the gateway's topics with fewer in-sync replicas than replicas.",
    multiprocess_mode="livemax",
)
CONTACTS_AS_OF = Gauge(
    "postbacks_gateway_contacts_as_of_timestamp_seconds",
    "Time (since 1970) up to which lookups of contacts have everything that Kafka acknowledged; 0: unknown.",
    multiprocess_mode="livemin",
)
STREAMS_LAG = Gauge(
    "postbacks_streams_lag_records",
    "Records of a partition that are not merged yet; every worker reports all partitions.",
    ["topic", "partition"],
)
STREAMS_UNOWNED = Gauge(
    "postbacks_streams_unowned_partitions",
    "Partitions without an owner in a stable group; every worker reports it.",
)
STREAMS_BATCH_SECONDS = Histogram(
    "postbacks_streams_batch_seconds",
    "Time from a fetch to the acknowledgement of its changes.",
    buckets=SECONDS,
)
MERGED = Counter(
    "postbacks_streams_merged_total", "Records merged, including duplicates, by input.", ["topic"]
)
STATES_WRITTEN = Counter(
    "postbacks_streams_states_written_total", "States and tombstones written to a changelog.", ["topic"]
)
STATES = Gauge(
    "postbacks_streams_states",
    "States in this worker's stores (an estimate), by changelog.",
    ["topic"],
    multiprocess_mode="livesum",
)
STATES_RECOVERED = Counter(
    "postbacks_streams_states_recovered_total", "Changelog records applied while restoring.", ["topic"]
)
RECOVERY_LEFT = Gauge(
    "postbacks_streams_recovery_left_records",
    "Changelog records left to restore before processing starts.",
    ["topic"],
    multiprocess_mode="livesum",
)
LEASE_LOST = Counter(
    "postbacks_streams_lease_lost_total", "Writes refused because the lease on the partitions had expired."
)
CHANGELOG_REPAIRS = Counter(
    "postbacks_streams_changelog_repairs_total", "Stale changelog records rewritten.", ["topic"]
)
OVERDUE_MARKED = Counter("postbacks_streams_overdue_total", "Messages marked overdue.")
UNSENT_MARKED = Counter("postbacks_streams_unsent_total", "Messages marked unsent.")
TOMBSTONES = Counter("postbacks_streams_tombstones_total", "Messages expired.")
SINK_ROWS = Counter("postbacks_sinks_rows_total", "Rows inserted, including redeliveries.", ["table"])
SINK_REFUSED = Counter(
    "postbacks_sinks_refused_total",
    "Rows that ClickHouse refused; they are in the table `rejected`.",
    ["table"],
)
SINK_RETRIES = Counter(
    "postbacks_sinks_retries_total", "Retries, by what was unavailable: clickhouse or kafka.", ["part"]
)
SINK_INSERT_SECONDS = Histogram(
    "postbacks_sinks_insert_seconds",
    "Time from a batch's first attempt to the acknowledged insert.",
    ["table"],
    buckets=SECONDS,
)
SINK_FRESHNESS = Gauge(
    "postbacks_sinks_freshness_seconds", "Age (by received_at) of the newest row inserted.", ["table"]
)
SINK_LAG = Gauge(
    "postbacks_sinks_lag_records",
    "Records of a partition that are not inserted yet; every sink reports all partitions.",
    ["topic", "partition"],
)
SINK_UNOWNED = Gauge(
    "postbacks_sinks_unowned_partitions",
    "Partitions without an owner in a stable group; every sink reports it.",
)
TEXTED_AFTER_STOP = Gauge(
    "postbacks_sinks_texted_after_stop_messages",
    "Messages sent within the last 24 hours although the recipient had opted out; one sink reports it.",
    ["account"],
)
TEXTED_IN_QUIET_HOURS = Gauge(
    "postbacks_sinks_texted_in_quiet_hours_messages",
    "Messages sent within the last 24 hours before 8 or after 21 o'clock by area code; one sink reports it.",
    ["account"],
)
AUTO_RESPONSE_DECISIONS = Counter(
    "postbacks_respond_decisions_total",
    "Responses decided about, by reason (`answer`, or why not) and rule.",
    ["reason", "rule"],
)
AUTO_RESPONSE_OUTCOMES = Counter(
    "postbacks_respond_outcomes_total",
    "Automatic responses by what became of them: accepted, refused, not_sent, unknown.",
    ["outcome"],
)
AUTO_RESPONSES_IN_FLIGHT = Gauge(
    "postbacks_respond_in_flight",
    "Automatic responses that are being sent, from the intent to the outcome.",
    multiprocess_mode="livesum",
)
RESPOND_LAG = Gauge(
    "postbacks_respond_lag_records",
    "Responses of a partition that are not decided about yet; every process reports all partitions.",
    ["topic", "partition"],
)
RESPOND_UNOWNED = Gauge(
    "postbacks_respond_unowned_partitions",
    "Partitions without an owner in a stable group; every process reports it.",
)
REJECTIONS = Counter(
    "postbacks_rejected_total", "Requests and records rejected, by stage and reason.", ["stage", "reason"]
)
READY = Gauge(
    "postbacks_ready",
    "1 when the process is fully ready, 0 while /readyz reports something missing.",
    multiprocess_mode="livemin",
)

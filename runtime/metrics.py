"""Every metric of the project, in one place: its kind, unit and meaning.

Labels are bounded: accounts, phone numbers, tokens or anything else that a stranger can make grow is never
one. Names follow Prometheus: `postbacks_<package>_<what>_<unit>`. Each process
shows those of the other packages, too, at 0.

Several gateway processes report as one (`runtime/multiprocess_metrics.py`): their counters add up, and each
gauge of theirs says how it does.
"""

from __future__ import annotations

import os

from prometheus_client import Counter, Gauge, Histogram, values

#: A folder that several processes share to report as one; prometheus_client's own name for it.
MULTIPROC_DIR = "PROMETHEUS_MULTIPROC_DIR"
#: What one of them is called there. Whoever is started in its place has the same name, and goes on counting;
#: without a name it is the process's id, and each restart leaves files behind that are read for ever.
MULTIPROC_NAME = "PROMETHEUS_MULTIPROC_NAME"
if _name := os.environ.get(MULTIPROC_NAME):
    values.ValueClass = values.MultiProcessValue(lambda: _name)  # type: ignore[no-untyped-call]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

REQUESTS = Counter(
    "postbacks_gateway_requests_total",
    "Requests answered, by what they carried and the answer.",
    ["type", "answer"],
)
REQUEST_SECONDS = Histogram(
    "postbacks_gateway_request_seconds", "From a request's head to its answer.", buckets=SECONDS
)
REQUEST_BYTES = Counter("postbacks_gateway_request_bytes_total", "Bytes of the bodies taken in.")
CONNECTIONS = Gauge(
    "postbacks_gateway_connections", "Connections to the public port.", multiprocess_mode="livesum"
)
RELOAD_FAILURES = Counter(
    "postbacks_gateway_reloads_failed_total",
    "Changed files (accounts, certificate) that could not be used, so that what was read before stays.",
)
BATCH_RECORDS = Histogram(
    "postbacks_gateway_batch_records",
    "Records in one Kafka batch.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
)
PRODUCE_ERRORS = Counter(
    "postbacks_gateway_produce_errors_total", "Batches that Kafka did not acknowledge.", ["error"]
)
CLIENTS_RECREATED = Counter(
    "postbacks_gateway_producers_rebuilt_total",
    "Times that Kafka's client was made anew, as it was stuck or knew no broker that answers.",
)
SPOOLED = Counter("postbacks_gateway_spooled_total", "Records that went to the disk, as Kafka was away.")
SPOOL_RECORDS = Gauge(
    "postbacks_gateway_spool_records",
    "Records on disk that Kafka does not have yet.",
    multiprocess_mode="livesum",
)
SPOOL_BYTES = Gauge("postbacks_gateway_spool_bytes", "Bytes of those records.", multiprocess_mode="livesum")
SPOOL_LIMIT_BYTES = Gauge(
    "postbacks_gateway_spool_limit_bytes",
    "Bytes at which the spool is full and a postback is answered 503.",
    multiprocess_mode="livesum",
)
SPOOL_AGE = Gauge(
    "postbacks_gateway_spool_age_seconds",
    "How long the oldest of them has waited.",
    multiprocess_mode="livemax",
)
SPOOLS_DAMAGED = Counter(
    "postbacks_gateway_spools_damaged_total", "Spool files that were damaged and set aside."
)
UNDERREPLICATED = Gauge(
    "postbacks_gateway_underreplicated_partitions",
    "Partitions of the gateway's topics with fewer replicas in sync than they have.",
    multiprocess_mode="livemax",
)
STREAMS_LAG = Gauge(
    "postbacks_streams_lag_records",
    "Records of a partition that the group has not merged; every worker reports all partitions.",
    ["topic", "partition"],
)
STREAMS_UNOWNED = Gauge(
    "postbacks_streams_unowned_partitions",
    "Partitions that no worker owns though the group is stable; every worker reports it.",
)
STREAMS_BATCH_SECONDS = Histogram(
    "postbacks_streams_batch_seconds", "From a fetch to the acknowledgement of its changes.", buckets=SECONDS
)
MERGED = Counter("postbacks_streams_merged_total", "Postbacks merged, repeats included.", ["topic"])
STATES_WRITTEN = Counter("postbacks_streams_states_written_total", "Records written to `messages`.")
STATES = Gauge(
    "postbacks_streams_states_kept",
    "Messages in the stores of this worker, roughly.",
    multiprocess_mode="livesum",
)
STATES_RECOVERED = Counter(
    "postbacks_streams_states_recovered_total", "Records of `messages` read to fill the stores."
)
RECOVERY_LEFT = Gauge(
    "postbacks_streams_recovery_left_records",
    "Records of `messages` still to read before work begins.",
    multiprocess_mode="livesum",
)
LEASE_LOST = Counter(
    "postbacks_streams_lease_lost_total", "Writes that were not made as the partitions were not surely ours."
)
CHANGELOG_REPAIRS = Counter(
    "postbacks_streams_states_healed_total", "States said again, as the log told them less well."
)
OVERDUE_MARKED = Counter("postbacks_streams_overdue_total", "Messages marked overdue.")
TOMBSTONES = Counter("postbacks_streams_tombstones_total", "Messages that were let go of.")
SINK_ROWS = Counter("postbacks_sinks_rows_total", "Rows stored, repeated deliveries too.", ["table"])
SINK_REFUSED = Counter(
    "postbacks_sinks_refused_total", "Rows that ClickHouse refused; they are in `rejected`.", ["table"]
)
SINK_RETRIES = Counter(
    "postbacks_sinks_retries_total", "Tries in vain, by whom was waited for: clickhouse or kafka.", ["part"]
)
SINK_INSERT_SECONDS = Histogram(
    "postbacks_sinks_insert_seconds",
    "From a batch's first try to ClickHouse's answer.",
    ["table"],
    buckets=SECONDS,
)
SINK_FRESHNESS = Gauge(
    "postbacks_sinks_freshness_seconds", "Now minus received_at of the newest row stored.", ["table"]
)
SINK_LAG = Gauge(
    "postbacks_sinks_lag_records",
    "Records of a partition that the group has not stored; every sink reports all partitions.",
    ["topic", "partition"],
)
SINK_UNOWNED = Gauge(
    "postbacks_sinks_unowned_partitions",
    "Partitions that no sink owns though the group is stable; every sink reports it.",
)
REJECTIONS = Counter(
    "postbacks_rejected_total", "What was no postback, by the stage that said so.", ["stage", "reason"]
)
READY = Gauge(
    "postbacks_ready",
    "1 when the process does its work, 0 while /readyz names something missing.",
    multiprocess_mode="livemin",
)

"""Every metric of the project, in one place: its kind, unit and meaning.

Labels are bounded: accounts, phone numbers, tokens or anything else that a stranger can make grow is never
one. Names follow Prometheus: `postbacks_<package>_<what>_<unit>`.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

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
BATCH_RECORDS = Histogram(
    "postbacks_gateway_batch_records",
    "Records in one Kafka batch.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
)
PRODUCE_ERRORS = Counter(
    "postbacks_gateway_produce_errors_total", "Batches that Kafka did not acknowledge.", ["error"]
)
SPOOLED = Counter("postbacks_gateway_spooled_total", "Records that went to the disk, as Kafka was away.")
SPOOL_RECORDS = Gauge("postbacks_gateway_spool_records", "Records on disk that Kafka does not have yet.")
SPOOL_BYTES = Gauge("postbacks_gateway_spool_bytes", "Bytes of those records.")
SPOOL_AGE = Gauge("postbacks_gateway_spool_age_seconds", "How long the oldest of them has waited.")
SPOOLS_DAMAGED = Counter(
    "postbacks_gateway_spools_damaged_total", "Spool files that were damaged and set aside."
)
REJECTED = Counter(
    "postbacks_rejected_total", "What was no postback, by the stage that said so.", ["stage", "reason"]
)
READY = Gauge("postbacks_ready", "1 when the process does its work, 0 while /readyz names something missing.")

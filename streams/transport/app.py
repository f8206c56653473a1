"""Faust's application, with the settings that correctness and throughput were measured with."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import faust
from faust.tables.manager import TableManager
from faust.types import AppT
from faust.types.auth import CredentialsT

from runtime.kafka.commit_metadata import commit_metadata
from runtime.kafka.compression import Compression
from runtime.kafka.membership import METADATA_MAX_AGE_MS
from streams.state.spec import TableSpec
from streams.topics import GROUP as GROUP
from streams.transport.consumer import BatchConsumer, Transport
from streams.transport.producer import BatchProducer

FETCH_BYTES = 4 * 2**20
BATCH_BYTES = 900_000
REQUEST_BYTES = 8 * 2**20
REQUEST_TIMEOUT = 20.0
#: Batches in the agent's queue; Faust's default of 4096 would take gigabytes.
QUEUE_BATCHES = 8
#: Seconds that the group waits for its members to join: less than the setting `stall_after`, so that a member
#: that waits for another one does not count as stalled.
REBALANCE_TIMEOUT = 30.0


def faust_app(
    options: Mapping[str, Any],
    folder: Path,
    tables: Mapping[TableSpec, UUID | None],
    *,
    partitions: int,
    session_timeout: float,
    fetch_wait: float,
    compression: Compression,
) -> faust.App:
    """Create the application, without agents or tables.

    Args:
        options: options of aiokafka's clients (`client_options`).
        folder: where Faust may create folders of its own.
        tables: those that the app will have, with the ids of their topics, which the commits of their inputs
            belong to (None: unknown).
        partitions: of each topic.
        session_timeout: seconds without a heartbeat after which the group removes this member.
        fetch_wait: see `Transport`.
        compression: of the batches that are written.
    """
    app = faust.App(
        GROUP,
        broker=[f"kafka://{server}" for server in options["bootstrap_servers"]],
        broker_credentials=_credentials(options),
        store="memory://",
        datadir=str(folder),
        web_enabled=False,
        processing_guarantee="at_least_once",
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        broker_session_timeout=session_timeout,
        broker_heartbeat_interval=session_timeout / 3,
        broker_rebalance_timeout=max(REBALANCE_TIMEOUT, session_timeout),
        broker_request_timeout=max(REQUEST_TIMEOUT, session_timeout),
        broker_commit_interval=1.0,
        consumer_max_fetch_size=FETCH_BYTES,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
        producer_max_batch_size=BATCH_BYTES,
        producer_max_request_size=REQUEST_BYTES,
        producer_request_timeout=session_timeout * 2 / 3,
        producer_linger_ms=0,
        producer_compression_type=None if compression == "none" else compression,
        producer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
        stream_buffer_maxsize=QUEUE_BATCHES,
        stream_wait_empty=True,
        stream_recovery_delay=0,
    )
    app.transport = Transport(
        app.conf.broker_consumer,
        app,
        fetch_wait=fetch_wait,
        partitions=group_topics(tables, partitions),
        commit_metadata={
            topic: commit_metadata(topic_id) for spec, topic_id in tables.items() for topic in spec.inputs
        },
    )
    return app


def group_topics(tables: Iterable[TableSpec], partitions: int) -> dict[str, int]:
    """The topics whose partitions the group's members own, with their partition counts."""
    return {topic: partitions for spec in tables for topic in (*spec.inputs, spec.topic)}


def consumer_of(app: AppT) -> BatchConsumer:
    """The consumer of an app that has started."""
    consumer: BatchConsumer = app.consumer  # type: ignore[assignment]
    return consumer


def producer_of(app: AppT) -> BatchProducer:
    """The producer of an app that has started."""
    producer: BatchProducer = app.producer  # type: ignore[assignment]
    return producer


def records_to_restore(app: AppT) -> Mapping[str, int] | None:
    """Records that Faust's recovery has yet to read, by changelog; None if it is not running."""
    if not app.in_recovery:
        return None
    manager: TableManager = app.tables  # type: ignore[assignment]
    left: Counter[str] = Counter(dict.fromkeys(app.tables, 0))
    for tp, records in manager.recovery.active_remaining().items():
        left[tp.topic] += max(0, records)
    return left


def _credentials(options: Mapping[str, Any]) -> CredentialsT | None:
    context: ssl.SSLContext | None = options.get("ssl_context")
    if "sasl_mechanism" in options:
        return faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context else None

"""Faust's application, with the settings that correctness and speed were measured with."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faust
from faust.types.auth import CredentialsT

from gateway.postback import POSTBACK_TOPICS
from runtime.kafka.membership import METADATA_MAX_AGE_MS
from runtime.settings import Settings
from streams.message import MESSAGES
from streams.transport.consumer import Transport

#: Faust's id of the application is Kafka's name of the group.
GROUP = "streams"
FETCH_BYTES = 4 * 2**20
BATCH_BYTES = 900_000
REQUEST_BYTES = 8 * 2**20
REQUEST_SECONDS = 20.0
#: Batches that may wait in the agent's queue; Faust's 4096 would be gigabytes.
QUEUE_BATCHES = 8
#: Seconds that the group waits for its members to join: less than `stall_after`, so that a member that waits
#: for another one does not count as stalled.
REBALANCE_SECONDS = 30.0


def faust_app(settings: Settings, options: Mapping[str, Any], folder: Path) -> faust.App:
    """The application, without agents or tables.

    Args:
        options: of aiokafka's clients (`runtime.kafka.client_options`).
        folder: where Faust may make folders of its own.
    """
    session = settings.session_timeout
    app = faust.App(
        GROUP,
        broker=[f"kafka://{server}" for server in options["bootstrap_servers"]],
        broker_credentials=_credentials(options),
        store="memory://",
        datadir=str(folder),
        web_enabled=False,
        processing_guarantee="at_least_once",
        topic_partitions=settings.partitions,
        topic_replication_factor=settings.replication,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        broker_session_timeout=session,
        broker_heartbeat_interval=session / 3,
        broker_rebalance_timeout=max(REBALANCE_SECONDS, session),
        broker_request_timeout=max(REQUEST_SECONDS, session),
        broker_commit_interval=1.0,
        consumer_max_fetch_size=FETCH_BYTES,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
        producer_max_batch_size=BATCH_BYTES,
        producer_max_request_size=REQUEST_BYTES,
        producer_request_timeout=session * 2 / 3,
        producer_linger_ms=0,
        producer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
        stream_buffer_maxsize=QUEUE_BATCHES,
        stream_wait_empty=True,
        stream_recovery_delay=0,
    )
    app.transport = Transport(
        app.conf.broker_consumer,
        app,
        fetch_wait=settings.fetch_wait,
        partitions=group_topics(settings.partitions),
    )
    return app


def group_topics(partitions: int) -> dict[str, int]:
    """The topics whose partitions the group's members own, with their numbers of partitions."""
    return dict.fromkeys((*POSTBACK_TOPICS, MESSAGES), partitions)


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

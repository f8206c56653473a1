"""The responder's Kafka clients, beside the member of its group."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from runtime.kafka.errors import translate_errors
from runtime.kafka.membership import METADATA_MAX_AGE_MS

REQUEST_TIMEOUT_MS = 10_000


class Clients(NamedTuple):
    #: Without a group.
    view: AIOKafkaConsumer
    producer: AIOKafkaProducer


@asynccontextmanager
async def open_clients(
    options: Mapping[str, Any], fetch_wait: float, compression: str
) -> AsyncIterator[Clients]:
    """Start both, and stop them after the block.

    Args:
        options: of every client (`client_options`).
        fetch_wait: seconds that a fetch waits for records.
        compression: the codec of what is produced, or none.

    Raises:
        KafkaUnavailable: no broker answers.
    """
    view = AIOKafkaConsumer(
        **options,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=int(fetch_wait * 1000),  # a request for a log's end waits for a fetch
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
    )
    producer = AIOKafkaProducer(
        **options,
        acks="all",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        compression_type=None if compression == "none" else compression,
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
    )
    try:
        with translate_errors():
            await view.start()
            await producer.start()
        yield Clients(view, producer)
    finally:
        await producer.stop()
        await view.stop()

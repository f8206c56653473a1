"""`python -m streams`: one worker, until it is stopped."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from typing import Any

import structlog

from runtime.errors import KafkaUnavailable
from runtime.health import Health, serve_ops
from runtime.kafka.clients import client_options, cluster_id
from runtime.kafka.topics import ensure_topics
from runtime.process import run_process
from runtime.settings import Settings
from streams.topics import messages_topic, require_postback_topics
from streams.worker import Worker

OPS = "127.0.0.1:8182"
RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


async def work(settings: Settings, stop: asyncio.Event) -> None:
    """Correlate until `stop` is set.

    Raises:
        Refused: settings, topics or states do not allow it.
    """
    health = Health()
    options = client_options(settings)
    async with serve_ops(settings.ops or OPS, health):
        cluster = await _kafka(settings, options, health, stop)
        if cluster is None:
            return
        _collect_garbage_rarely()
        log.info("At work", cluster=cluster, store=settings.store, data=str(settings.data))
        await Worker(settings, options, cluster, health).run(stop)


async def _kafka(
    settings: Settings, options: Mapping[str, Any], health: Health, stop: asyncio.Event
) -> str | None:
    """Wait until Kafka answers and all topics are there; the cluster's name, or null when stopped before."""
    health.missing["partitions"] = "not asked for yet"
    while not stop.is_set():
        try:
            await ensure_topics(options, [messages_topic(settings)])
            await require_postback_topics(options, settings.partitions)
            cluster = await cluster_id(options)
        except KafkaUnavailable as why:
            if health.missing.get("kafka") != str(why):
                log.warning("Waiting", why=str(why))
            health.missing["kafka"] = str(why)
            await asyncio.wait([asyncio.ensure_future(stop.wait())], timeout=RETRY_SECONDS)
        else:
            health.missing.pop("kafka", None)
            return cluster
    return None


def _collect_garbage_rarely() -> None:
    """A batch is thousands of objects without a cycle, that Python would walk through again and again."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


if __name__ == "__main__":
    run_process(work)

"""Topics are created as specified; one that would break correlation is a mismatch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.postback import POSTBACK_TOPICS
from gateway.rejected import REJECTED
from gateway.submission import SUBMISSIONS
from gateway.topics import gateway_topics
from runtime.errors import KafkaUnavailable, TopicMismatch
from runtime.kafka.clients import client_options
from runtime.kafka.topics import POLL_INTERVAL, TopicSpec, ensure_topics
from runtime.settings import Settings, load_settings
from tests.support.kafka import (
    ApacheKafka,
    create_other_topics,
    free_ports,
    open_admin,
    own_kafka,
    set_topic_config,
)

RETAINED_A_WEEK = {"cleanup.policy": "delete", "retention.ms": "604800000"}
COMPACTED = {"cleanup.policy": "compact", "min.compaction.lag.ms": "604800000"}

Unique = Callable[[str], str]


def settings(**others: str) -> Settings:
    return load_settings({f"POSTBACKS_{name.upper()}": value for name, value in others.items()})


@pytest.fixture
def options(kafka: str) -> dict[str, Any]:
    return client_options(settings(kafka=kafka))


async def test_missing_topics_are_created_as_specified(
    kafka: str, options: dict[str, Any], unique: Unique
) -> None:
    deleting = TopicSpec(unique("deleting"), 3, 1, RETAINED_A_WEEK)
    compacted = TopicSpec(unique("compacted"), 5, 1, COMPACTED)
    await ensure_topics(options, [deleting])
    await ensure_topics(options, [deleting, compacted])
    await ensure_topics(options, [deleting, compacted])
    async with open_admin(kafka) as admin:
        partitions = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    assert (partitions[deleting.name], partitions[compacted.name]) == (3, 5)


async def test_other_partition_count_is_a_mismatch(
    kafka: str, options: dict[str, Any], unique: Unique
) -> None:
    topic = unique("topic")
    await create_other_topics(kafka, topic)
    with pytest.raises(TopicMismatch, match=f"{topic} has 2 partitions, not 8 .POSTBACKS_PARTITIONS"):
        await ensure_topics(options, [TopicSpec(topic, 8, 1, RETAINED_A_WEEK)], timeout=30)


async def test_other_cleanup_policy_is_a_mismatch(
    kafka: str, options: dict[str, Any], unique: Unique
) -> None:
    topic = unique("topic")
    await create_other_topics(kafka, topic)
    with pytest.raises(TopicMismatch, match=f"{topic} has cleanup.policy=delete and needs compact"):
        await ensure_topics(options, [TopicSpec(topic, 2, 1, COMPACTED)], timeout=30)


async def test_only_a_smaller_record_limit_is_a_mismatch(
    kafka: str, options: dict[str, Any], unique: Unique
) -> None:
    topic = unique("topic")
    await create_other_topics(kafka, topic, config={"max.message.bytes": "1000000"})
    await ensure_topics(options, [TopicSpec(topic, 2, 1, {"max.message.bytes": "999999"})], timeout=30)
    with pytest.raises(TopicMismatch, match=f"{topic} has max.message.bytes=1000000 and needs 1000001"):
        await ensure_topics(options, [TopicSpec(topic, 2, 1, {"max.message.bytes": "1000001"})])


async def test_config_that_brokers_learn_late_is_awaited(apache_kafka: ApacheKafka, unique: Unique) -> None:
    topic, address = unique("topic"), apache_kafka.address
    await create_other_topics(address, topic)
    options = client_options(settings(kafka=address))
    ensuring = asyncio.create_task(ensure_topics(options, [TopicSpec(topic, 2, 1, COMPACTED)]))
    await asyncio.sleep(2 * POLL_INTERVAL)  # the first check has failed by now, which cannot be observed
    await set_topic_config(address, topic, COMPACTED)
    await ensuring


async def test_other_retention_is_only_logged(kafka: str, options: dict[str, Any], unique: Unique) -> None:
    topic = unique("topic")
    await create_other_topics(kafka, topic, config={**RETAINED_A_WEEK, "retention.ms": "1000000"})
    with capture_logs() as lines:
        await ensure_topics(options, [TopicSpec(topic, 2, 1, RETAINED_A_WEEK)], timeout=30)
    (warning,) = [line for line in lines if line["log_level"] == "warning"]
    assert (warning["topic"], warning["key"], warning["is_"]) == (topic, "retention.ms", 1_000_000)


@pytest.mark.engine
async def test_unavailable_kafka_is_retried_until_the_timeout(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    options, topics = client_options(settings(kafka=address)), gateway_topics(8, 1)
    with pytest.raises(KafkaUnavailable, match=address):
        await ensure_topics(options, topics, timeout=0.5)
    ensuring = asyncio.create_task(ensure_topics(options, topics, timeout=60))
    await asyncio.sleep(0)
    async with own_kafka(tmp_path, port):
        await ensuring


def test_postbacks_are_retained_a_week_rejections_a_month() -> None:
    specs = {spec.name: spec for spec in gateway_topics(12, 3)}
    assert specs.keys() == {*POSTBACK_TOPICS, SUBMISSIONS, REJECTED}
    assert {spec.partitions for spec in specs.values()} == {12}
    days = {name: int(spec.config["retention.ms"]) // 86_400_000 for name, spec in specs.items()}
    assert days == {**dict.fromkeys((*POSTBACK_TOPICS, SUBMISSIONS), 7), REJECTED: 30}


def test_three_replicas_require_two_in_sync() -> None:
    safe = gateway_topics(8, 3)[0].config
    assert (safe["min.insync.replicas"], safe["unclean.leader.election.enable"]) == ("2", "false")
    assert "min.insync.replicas" not in gateway_topics(8, 1)[0].config

"""The topics are made as specified, and one that would break correlation is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from structlog.testing import capture_logs

from gateway.postback import POSTBACK_TOPICS, REJECTED
from gateway.topics import gateway_topics
from runtime.errors import KafkaUnavailable, TopicMismatch
from runtime.kafka.clients import client_options
from runtime.kafka.topics import POLL_INTERVAL, TopicSpec, ensure_topics
from runtime.settings import Settings, load_settings
from tests.support.kafka import ApacheKafka, free_ports, own_kafka

KEPT_A_WEEK = {"cleanup.policy": "delete", "retention.ms": "604800000"}
COMPACTED = {"cleanup.policy": "compact", "min.compaction.lag.ms": "604800000"}

Unique = Callable[[str], str]


def settings(**others: str) -> Settings:
    return load_settings({f"POSTBACKS_{name.upper()}": value for name, value in others.items()})


@pytest.fixture
def options(kafka: str) -> dict[str, Any]:
    return client_options(settings(kafka=kafka))


@asynccontextmanager
async def closing_admin(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await client.start()
    yield client
    await client.close()


@pytest_asyncio.fixture
async def admin(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    async with closing_admin(kafka) as client:
        yield client


async def test_missing_topics_are_made_as_specified(
    options: dict[str, Any], admin: AIOKafkaAdminClient, unique: Unique
) -> None:
    kept, compacted = (
        TopicSpec(unique("kept"), 3, 1, KEPT_A_WEEK),
        TopicSpec(unique("state"), 5, 1, COMPACTED),
    )
    await ensure_topics(options, [kept])
    await ensure_topics(options, [kept, compacted])
    await ensure_topics(options, [kept, compacted])
    partitions = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    assert (partitions[kept.name], partitions[compacted.name]) == (3, 5)


async def test_another_number_of_partitions_is_refused(
    options: dict[str, Any], admin: AIOKafkaAdminClient, unique: Unique
) -> None:
    topic = unique("topic")
    await admin.create_topics([NewTopic(topic, 2, 1)])
    with pytest.raises(TopicMismatch, match=f"{topic} has 2 partitions, not 8 .POSTBACKS_PARTITIONS"):
        await ensure_topics(options, [TopicSpec(topic, 8, 1, KEPT_A_WEEK)], patience=30)


async def test_another_cleanup_policy_is_refused(
    options: dict[str, Any], admin: AIOKafkaAdminClient, unique: Unique
) -> None:
    topic = unique("topic")
    await admin.create_topics([NewTopic(topic, 2, 1)])
    with pytest.raises(TopicMismatch, match=f"{topic} has cleanup.policy=delete and needs compact"):
        await ensure_topics(options, [TopicSpec(topic, 2, 1, COMPACTED)], patience=30)


async def test_a_topic_for_smaller_records_is_refused_and_one_for_larger_is_not(
    options: dict[str, Any], admin: AIOKafkaAdminClient, unique: Unique
) -> None:
    topic = unique("topic")
    await admin.create_topics([NewTopic(topic, 2, 1, topic_configs={"max.message.bytes": "1000000"})])
    await ensure_topics(options, [TopicSpec(topic, 2, 1, {"max.message.bytes": "999999"})], patience=30)
    with pytest.raises(TopicMismatch, match=f"{topic} has max.message.bytes=1000000 and needs 1000001"):
        await ensure_topics(options, [TopicSpec(topic, 2, 1, {"max.message.bytes": "1000001"})])


async def test_a_topic_whose_configuration_a_broker_learns_a_moment_later_is_not_refused(
    apache_kafka: ApacheKafka, unique: Unique
) -> None:
    topic, address = unique("topic"), apache_kafka.address
    async with closing_admin(address) as admin:
        await admin.create_topics([NewTopic(topic, 2, 1)])
        options = client_options(settings(kafka=address))
        ensuring = asyncio.create_task(ensure_topics(options, [TopicSpec(topic, 2, 1, COMPACTED)]))
        await asyncio.sleep(2 * POLL_INTERVAL)  # it has looked, which nobody hears of
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=COMPACTED)])
        await ensuring


async def test_another_retention_is_somebodys_choice_and_only_warned_about(
    options: dict[str, Any], admin: AIOKafkaAdminClient, unique: Unique
) -> None:
    topic = unique("topic")
    await admin.create_topics(
        [NewTopic(topic, 2, 1, topic_configs={**KEPT_A_WEEK, "retention.ms": "1000000"})]
    )
    with capture_logs() as lines:
        await ensure_topics(options, [TopicSpec(topic, 2, 1, KEPT_A_WEEK)], patience=30)
    (warning,) = [line for line in lines if line["log_level"] == "warning"]
    assert (warning["topic"], warning["key"], warning["is_"]) == (topic, "retention.ms", 1_000_000)


async def test_kafka_that_does_not_answer_is_waited_for_as_long_as_asked(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    options, topics = client_options(settings(kafka=address)), gateway_topics(settings())
    with pytest.raises(KafkaUnavailable, match=address):
        await ensure_topics(options, topics, patience=0.5)
    ensuring = asyncio.create_task(ensure_topics(options, topics, patience=60))
    await asyncio.sleep(0)
    async with own_kafka(tmp_path, port):
        await ensuring


def test_postbacks_are_kept_a_week_and_rejections_a_month() -> None:
    specs = {spec.name: spec for spec in gateway_topics(settings(partitions="12", replication="3"))}
    assert specs.keys() == {*POSTBACK_TOPICS, REJECTED}
    assert {spec.partitions for spec in specs.values()} == {12}
    days = {name: int(spec.config["retention.ms"]) // 86_400_000 for name, spec in specs.items()}
    assert days == {**dict.fromkeys(POSTBACK_TOPICS, 7), REJECTED: 30}


def test_three_replicas_are_only_worth_it_when_two_must_agree() -> None:
    safe = gateway_topics(settings(replication="3"))[0].config
    assert (safe["min.insync.replicas"], safe["unclean.leader.election.enable"]) == ("2", "false")
    assert "min.insync.replicas" not in gateway_topics(settings(replication="1"))[0].config

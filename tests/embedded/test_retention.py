"""The embedded Kafka stays below its disk limit, and deletes no record that is not in ClickHouse."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from embedded.kafka.retention import (
    CONSUMER_GROUPS,
    HoldFile,
    disk_usage,
    enforce_limit,
    retention_properties,
)
from gateway.postback import SENT
from gateway.rejected import REJECTED
from streams.auto_response import AUTO_RESPONSES
from streams.contact_event import CONTACT_EVENTS
from streams.message import INPUTS
from tests.chaos.full_disk import fill_disk
from tests.chaos.scenario import silent_stage
from tests.support.kafka import ApacheKafka, create_topics
from tests.support.sinks import produce_values
from tests.support.wait import eventually


def test_all_topics_have_their_consumer_groups() -> None:
    by_groups: dict[tuple[str, ...], set[str]] = {}
    for topic, groups in CONSUMER_GROUPS.items():
        by_groups.setdefault(groups, set()).add(topic)
    assert AUTO_RESPONSES not in CONSUMER_GROUPS, "what was sent would be forgotten"
    assert by_groups == {
        ("streams", "sinks"): {*INPUTS},
        ("sinks",): {REJECTED},
        ("streams",): {CONTACT_EVENTS},
    }


@pytest.mark.engine
async def test_gateway_answers_503_while_kafka_is_full(tmp_path: Path) -> None:
    with silent_stage(tmp_path) as stage:
        await fill_disk(stage, 64 * 2**20)
    assert not stage.failures, 'make chaos ARGS="--full-disk 64"'


@pytest.mark.engine
async def test_hold_just_below_the_limit_is_removed(tmp_path: Path) -> None:
    cluster = ApacheKafka(tmp_path / "kafka", properties=retention_properties(100 * 2**20))
    try:
        await asyncio.to_thread(cluster.start)
        await create_topics(cluster.address, partitions=1)
        await produce_values(cluster.address, SENT, *[os.urandom(2**19)] * 40)
        for group in ("streams", "sinks"):
            await commit_everything(cluster.address, group)
        data = cluster.nodes[0].data
        limit = int(disk_usage(data) / 0.97)
        hold = HoldFile(tmp_path / "hold")
        hold.write("Kafka's disk was full")
        enforcing = asyncio.create_task(enforce_limit(cluster.address, data, limit, hold))
        await eventually(lambda: (tmp_path / "hold").exists(), "accepting again", lambda exists: not exists)
        enforcing.cancel()
    finally:
        cluster.kill()


async def commit_everything(kafka: str, group: str) -> None:
    """Commit the end of the partition with records."""
    partition = TopicPartition(SENT, 0)
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka, group_id=group, enable_auto_commit=False
    ) as consumer:
        consumer.assign([partition])
        await consumer.commit(await consumer.end_offsets([partition]))

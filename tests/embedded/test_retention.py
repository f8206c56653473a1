"""The embedded Kafka stays below its disk limit, and deletes no record that is not in ClickHouse."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedded.kafka.retention import CONSUMER_GROUPS
from gateway.rejected import REJECTED
from streams.message import INPUTS
from tests.chaos.full_disk import fill_disk
from tests.chaos.scenario import silent_stage


def test_all_topics_have_their_consumer_groups() -> None:
    both = {topic for topic, groups in CONSUMER_GROUPS.items() if groups == ("streams", "sinks")}
    assert (both, CONSUMER_GROUPS.keys() - both) == ({*INPUTS}, {REJECTED})


@pytest.mark.engine
async def test_gateway_answers_503_while_kafka_is_full(tmp_path: Path) -> None:
    with silent_stage(tmp_path) as stage:
        await fill_disk(stage, 64 * 2**20)
    assert not stage.failures, 'make chaos ARGS="--full-disk 64"'

"""A short run of `make chaos ARGS="--send 5m --kills 10"`, on the shared engines."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.chaos.outcome import PostLog
from tests.chaos.scenario import silent_stage
from tests.chaos.send_agreement import require_agreement
from tests.chaos.sends import SendOptions, send_all
from tests.support.gateway import RunningGateway, free_address, open_gateway
from tests.support.kafka import PARTITIONS
from tests.support.sinks import open_sink
from tests.support.sinks import wait_committed as wait_stored
from tests.support.streams import Streams

LIMIT = 2.0


class SmallPipeline:
    """A gateway, streams and a sink on the engines of the tests; recipients are not checked."""

    read_token = ""

    def __init__(self, stack: ExitStack, kafka: str, clickhouse: str, folder: Path) -> None:
        self.clickhouse = clickhouse
        self.streams = Streams(kafka, folder)
        self._stack, self._listen, self._data = stack, free_address(), folder / "gateway"
        self.gateway = f"http://{self._listen}"
        stack.enter_context(self.streams.worker(overdue_after=LIMIT, unsent_after=LIMIT))
        stack.enter_context(open_sink(kafka, clickhouse))
        self._running = self._start()

    async def kill_gateway(self) -> None:
        self._running.process.kill()
        self._running = self._start()

    async def wait_stored(self) -> None:
        """Wait until everything accepted is in ClickHouse."""
        await self.streams.wait_committed()
        await wait_stored(self.streams.kafka)

    def _start(self) -> RunningGateway:
        return self._stack.enter_context(
            open_gateway(self.streams.kafka, partitions=PARTITIONS, listen=self._listen, data=self._data)
        )


@pytest.mark.engine
async def test_every_send_is_accounted_for_under_kills(
    prepared_kafka: str, database: str, tmp_path: Path
) -> None:
    seed = datetime.now(UTC).toordinal()
    options = SendOptions(seed, seconds=2, rate=100, limit=LIMIT, kills=1, pace=0.1)
    with silent_stage(tmp_path) as stage, ExitStack() as stack:
        pipeline, posts = SmallPipeline(stack, prepared_kafka, database, tmp_path), PostLog()
        sent = await send_all(stage, pipeline, options, posts)
        await pipeline.wait_stored()
        require_agreement(stage, pipeline, sent, posts)
        assert not stage.failures, f'make chaos ARGS="--send 1m --kills 2 --seed {seed}"'

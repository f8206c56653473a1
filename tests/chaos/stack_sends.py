"""Sends messages while `postbacks up` takes the answers and postbacks; see `sends`."""

from __future__ import annotations

import time
from datetime import timedelta

from tests.chaos.checker import check
from tests.chaos.cluster import reconcile
from tests.chaos.fold import Limits
from tests.chaos.outcome import PostLog
from tests.chaos.quiesce import wait_quiescent
from tests.chaos.running_stack import RunningStack
from tests.chaos.scenario import Stage
from tests.chaos.send_agreement import require_agreement
from tests.chaos.sends import SendOptions, send_all

#: Seconds until a message is overdue or unsent.
LIMIT = 20.0


class SendStack:
    """A stack with short limits, as the other end of sends."""

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack
        self.gateway = stack.url.removesuffix("/postback")
        self.clickhouse = stack.clickhouse

    @property
    def read_token(self) -> str:
        return self._stack.read_token

    async def kill_gateway(self) -> None:
        self._stack.kill_service("gateway")
        await self._stack.wait_accepting()


async def send_through_stack(stage: Stage, seed: int, seconds: float, rate: float, kills: int) -> None:
    """Send for so many seconds, then check everything that is stored."""
    up, posts = RunningStack(stage.folder, overdue_after=LIMIT, unsent_after=LIMIT), PostLog()
    began = time.monotonic()
    up.start()
    await up.wait_ready()
    stage.show(f"postbacks up is ready after {time.monotonic() - began:.1f} s")
    pipeline = SendStack(up)
    sent = await send_all(stage, pipeline, SendOptions(seed, seconds, rate, LIMIT, kills), posts)
    await wait_quiescent(up.kafka, [], LIMIT)
    require_agreement(stage, pipeline, sent, posts)
    limits = Limits(timedelta(seconds=LIMIT), timedelta(seconds=LIMIT))
    result = await check(up.kafka, up.clickhouse, posts.posted, limits, stage.log)
    for line in result.lines():
        stage.log(line)
    stage.show(
        f"{result.records:,} records, {result.events:,} postbacks, {result.submissions:,} submissions, "
        f"{result.messages:,} messages ({result.overdue:,} overdue, {result.unsent:,} unsent) checked"
    )
    stage.require(result.passed, f"nothing is lost, duplicated or wrong: {next(result.lines(), '')}")
    stage.require(await reconcile(up.kafka, up.clickhouse, stage.folder) == 0, "reconcile exits with 0")
    stage.require(await up.stop() == 0, "a clean shutdown drains")

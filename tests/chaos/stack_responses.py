"""`postbacks up --simulate --respond`: each wanted answer is sent once, and none after an opt-out."""

from __future__ import annotations

import asyncio
import time

from tests.chaos.cluster import reconcile
from tests.chaos.respond_agreement import (
    RespondRun,
    date_records_by_brokers,
    require_agreement,
    wait_settled,
)
from tests.chaos.responses import PARTITIONS, RULES
from tests.chaos.running_stack import RunningStack
from tests.chaos.scenario import Stage

#: Seconds; see `respond_expected`.
MARGIN = 10.0


async def respond_on_stack(stage: Stage, seconds: float, rate: float) -> None:
    """Run the stack for so many seconds, stop its traffic, and check what was answered."""
    up = RunningStack(stage.folder, "--simulate", f"{rate:g}", "--respond", str(RULES))
    began = time.monotonic()
    up.start()
    await up.wait_ready()
    await date_records_by_brokers(up.kafka, PARTITIONS, 1)
    stage.show(f"postbacks up is ready after {time.monotonic() - began:.1f} s")
    await asyncio.sleep(seconds)
    up.freeze("cli", "--rate")  # so that it posts nothing more, and is not started again
    await wait_settled(stage, up.kafka)
    (ledger,) = (up.data / "provider").glob("*.sqlite")
    run = RespondRun(up.kafka, up.clickhouse, ledger, PARTITIONS, MARGIN, has_faults=False)
    _, result = await require_agreement(stage, run)
    stage.require(not result.unknown, "nothing is unknown")
    stage.require(await reconcile(up.kafka, up.clickhouse, stage.folder) == 0, "reconcile exits with 0")
    up.resume("cli", "--rate")
    stage.require(await up.stop() == 0, "a clean shutdown drains")

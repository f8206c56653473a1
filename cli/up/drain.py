"""Stops the stack in the order of the flow, so that what the gateway accepted comes to its end.

Each stage is stopped only when its consumer group has committed everything that the stages before it, which
no longer write, have left in the logs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cli.up.stack import ENGINES, SIMULATOR
from cli.up.supervisor import Supervisor
from gateway.postback import POSTBACK_TOPICS, REJECTED
from runtime.errors import KafkaUnavailable
from runtime.kafka.offsets import NotDrained, open_logs
from streams.message import MESSAGES

#: Seconds without any progress after which a stage is given up.
TIMEOUT = 60.0
Tell = Callable[[str], None]

#: Consumer group, which is also the stage's name, and what it reads.
READS: Mapping[str, tuple[str, ...]] = {
    "streams": POSTBACK_TOPICS,
    "sinks": (*POSTBACK_TOPICS, REJECTED, MESSAGES),
}


async def stop_in_order(supervisor: Supervisor, kafka: Mapping[str, Any], say: Tell) -> bool:
    """End all services; whether everything that was accepted has reached ClickHouse.

    `kafka` are the options of its clients (`runtime.kafka.client_options`).
    """
    say("stopping the gateway, then the rest as it drains; once more to stop at once")
    accepting = supervisor.was_ready("gateway")
    await supervisor.stop(SIMULATOR)
    await supervisor.stop("gateway")
    complete = True
    for stage, topics in READS.items():
        if accepting and complete:
            patience = TIMEOUT if supervisor.was_ready(stage) else 0
            complete = await _drain(stage, topics, patience, kafka, say)
        await supervisor.stop(stage)
    for engine in ENGINES:
        await supervisor.stop(engine)
    return complete


async def _drain(
    stage: str, topics: tuple[str, ...], patience: float, kafka: Mapping[str, Any], say: Tell
) -> bool:
    told = 0

    def tell(left: int) -> None:
        nonlocal told
        if not told or left < told / 2:  # a line for every halving: few, and they show that it goes on
            say(f"{stage} has {left:,} records left")
            told = left

    try:
        async with open_logs(kafka) as logs:
            await logs.drained(stage, await logs.ends(topics), patience, tell)
    except (KafkaUnavailable, NotDrained) as error:
        say(f"{stage} did not drain: {error}")
        return False
    return True

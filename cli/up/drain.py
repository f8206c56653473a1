"""Shuts the stack down in the order of the data flow, so that everything accepted gets to ClickHouse.

A stage is stopped once its consumer group has committed everything that the stages before it have written.
Those are stopped already, so the ends of the logs are final.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cli.up.stack import ENGINES, PROVIDER, RESPONDER, SIMULATOR
from gateway.rejected import REJECTED
from runtime.errors import KafkaUnavailable
from runtime.kafka.offsets import NotDrained, open_logs
from runtime.supervisor import Supervisor
from streams.auto_response import AUTO_RESPONSES
from streams.contact import CONTACTS
from streams.contact_event import CONTACT_EVENTS
from streams.message import INPUTS as STREAMS_INPUTS
from streams.message import MESSAGES

#: Seconds without progress after which a stage is stopped although it has not drained.
DRAIN_TIMEOUT = 60.0

#: The topics that each stage reads, by its name, which is also that of its consumer group. A stage drains
#: them in this order, as it may write to the later ones until the earlier ones are drained.
INPUTS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "streams": (STREAMS_INPUTS, (CONTACT_EVENTS,)),
    "sinks": ((*STREAMS_INPUTS, REJECTED, MESSAGES, CONTACTS, AUTO_RESPONSES),),
}


async def stop_in_order(
    supervisor: Supervisor, kafka: Mapping[str, Any], report: Callable[[str], None]
) -> bool:
    """Stop all services; return whether everything accepted is in ClickHouse.

    Args:
        kafka: options of aiokafka's clients (`runtime.kafka.clients.client_options`).
        report: called with lines about the progress.
    """
    report("shutting down: the gateway first, then each stage once it has drained; Ctrl-C again kills all")
    accepted_any = supervisor.was_ready("gateway")
    await supervisor.stop(SIMULATOR)
    await supervisor.stop(RESPONDER)  # it calls the provider, and posts to the gateway
    await supervisor.stop(PROVIDER)  # it posts to the gateway
    await supervisor.stop("gateway")
    drained = True
    for stage, inputs in INPUTS.items():
        timeout = DRAIN_TIMEOUT if supervisor.was_ready(stage) else 0
        for topics in inputs:
            if accepted_any and drained:
                drained = await _drain(stage, topics, timeout, kafka, report)
        await supervisor.stop(stage)
    for engine in ENGINES:
        await supervisor.stop(engine)
    return drained


async def _drain(
    stage: str,
    topics: tuple[str, ...],
    timeout: float,
    kafka: Mapping[str, Any],
    report: Callable[[str], None],
) -> bool:
    reported = 0

    def on_lag(lag: int) -> None:
        nonlocal reported
        if not reported or lag < reported / 2:  # each time it halves: few lines that show progress
            report(f"{stage} has {lag:,} records left")
            reported = lag

    try:
        async with open_logs(kafka) as logs:
            await logs.wait_drained(stage, await logs.ends(topics), timeout, on_lag)
    except (KafkaUnavailable, NotDrained) as error:
        report(f"{stage} did not drain: {error}")
        return False
    return True

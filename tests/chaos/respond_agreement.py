"""Waits until all automatic responses of a run have an outcome, and requires that all sides agree."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.postback import RESPONSE
from runtime.kafka.clients import client_options
from runtime.kafka.offsets import open_logs
from runtime.phone_number import canonical
from runtime.settings import load_settings
from streams.auto_response import AUTO_RESPONSES
from streams.contact_event import CONTACT_EVENTS
from streams.responder.worker import GROUP
from streams.topics import streams_topics
from tests.chaos.cluster import frozen_code
from tests.chaos.quiesce import NotQuiescent
from tests.chaos.respond_check import RespondResult, check_responses
from tests.chaos.respond_expected import expect_answers
from tests.chaos.respond_sides import Sides, read_decisions, read_sides
from tests.chaos.scenario import Stage
from tests.support.kafka import set_topic_config
from tests.support.process import environment

#: Seconds without new records after which nothing more comes, without any progress, and between polls.
QUIET_SECONDS, TIMEOUT, POLL_INTERVAL = 12.0, 180.0, 0.5
#: SMSError of a handset that has sent STOP.
BLOCKED = 1
SHOWN = 20


@dataclass(frozen=True)
class RespondRun:
    """A run whose traffic has ended."""

    kafka: str
    clickhouse: str
    #: The provider's.
    ledger: Path
    partitions: int
    #: Seconds within which responses of a handset are handled in any order.
    margin: float
    #: Whether processes were killed or frozen.
    has_faults: bool


async def date_records_by_brokers(kafka: str, partitions: int, replication: int) -> None:
    """Let brokers date opt-outs and intents: they are in different topics, and compared by time."""
    for topic in streams_topics(partitions, replication):
        if topic.name in (CONTACT_EVENTS, AUTO_RESPONSES):
            config = {**topic.config, "message.timestamp.type": "LogAppendTime"}
            await set_topic_config(kafka, topic.name, config)


async def wait_settled(stage: Stage, kafka: str) -> None:
    """Wait until each response has a decision, each intent an outcome, and ClickHouse all of them.

    Raises:
        NotQuiescent: nothing changes, although something is pending.
    """
    async with open_logs(client_options(load_settings({"POSTBACKS_KAFKA": kafka}))) as logs:
        known: Mapping[object, int] = {}
        changed = logged = time.monotonic()
        while True:
            ends = await logs.ends((RESPONSE, AUTO_RESPONSES, CONTACT_EVENTS))
            now = time.monotonic()
            if ends != known:
                known, changed = ends, now
            pending = {
                f"{group} {topic}": await logs.lag(group, await logs.ends((topic,)))
                for group, topic in ((GROUP, RESPONSE), ("streams", RESPONSE), ("sinks", AUTO_RESPONSES))
            }
            if now - changed > QUIET_SECONDS and not any(pending.values()):
                if not (open_intents := await _open_intents(kafka)):
                    return
                pending = {"intents without an outcome": open_intents}
            if now - changed > TIMEOUT:
                raise NotQuiescent(f"pending: {pending}")
            if now - logged > QUIET_SECONDS:
                stage.log(f"pending: {pending}")
                logged = now
            await asyncio.sleep(POLL_INTERVAL)


async def _open_intents(kafka: str) -> int:
    return sum(
        {each.record.outcome for each in found} <= {"intent", "declined"}
        and any(each.record.outcome == "intent" for each in found)
        for found in (await read_decisions(kafka)).values()
    )


async def require_agreement(stage: Stage, run: RespondRun) -> tuple[Sides, RespondResult]:
    """Read and compare all sides of a settled run."""
    sides = await read_sides(run.kafka, run.clickhouse, run.ledger, await _list_unknown(run.clickhouse))
    blocked = {canonical(row.to_number) for row in sides.ledger if row.error == BLOCKED}
    expected = expect_answers(sides.responses, run.margin, blocked)
    result = check_responses(sides, expected, run.partitions)
    for finding in result.findings:
        stage.log(finding)
    stage.show(f"responses: {len(sides.responses):,}, {_described(result.outcomes)}")
    stage.show(f"wanted answers: {len(expected.wanted):,}, {_described(result.wanted)}")
    stage.show(f"sent twice: {result.sent_twice}; unknown and listed: {_described(result.unknown) or '0'}")
    stage.require(result.sent_twice == 0, f"nothing is sent twice, but {result.sent_twice:,} are")
    stage.require(
        not result.findings, f"all sides agree; not in {len(result.findings):,}: {result.findings[:SHOWN]}"
    )
    stage.require(result.wanted["accepted"] > 0, "some answers are sent")
    if not run.has_faults:
        others = set(result.wanted) - {"accepted", "refused", "unknown", "declined: daily_cap"}
        stage.require(not others, f"each wanted answer is sent; some are {others}")
    return sides, result


async def _list_unknown(clickhouse: str) -> str:
    """What `postbacks respond --unknown` prints."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "cli", "respond", "--unknown"],
        cwd=frozen_code(),
        env=environment(clickhouse=clickhouse),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def _described(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))

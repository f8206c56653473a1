"""Automatic responses on a real Kafka: each at most once, and none that must not be sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from gateway.postback import RESPONSE, Response
from runtime.errors import InvalidSetting
from runtime.health import Health
from runtime.kafka.clients import member_options
from runtime.kafka.offsets import open_logs
from runtime.settings import load_settings
from runtime.watchdog import Stalled
from streams.auto_response import AutoResponse, Reason
from streams.contact_event import (
    CONTACT_EVENTS,
    contact_event_key,
    contact_event_of_response,
    encode_contact_event,
)
from streams.responder.__main__ import respond
from streams.responder.appender import Appender
from streams.responder.progress import StreamsProgress
from streams.responder.responder import PartitionLease, Responder
from streams.responder.worker import GROUP, ResponseWorker
from tests.support.kafka import PARTITIONS
from tests.support.provider_server import KEPT, answer, recipients
from tests.support.raw_server import raw_server, stay_silent
from tests.support.responding import (
    Valid,
    commit_as_streams,
    new_response,
    open_responder,
    outcomes,
    read_records,
    responder_process,
    responder_settings,
    wait_for_outcomes,
)
from tests.support.wait import eventually
from tests.support.workload import lag, produce

HANDSET = "17575550100"


def opting_out(response: Response) -> Callable[[AIOKafkaProducer], Appender]:
    """An appender; once it has appended an intent, the sender of the response opts out."""

    class OptingOut(Appender):
        def __init__(self, producer: AIOKafkaProducer) -> None:
            super().__init__(producer)
            self.producer = producer

        async def append(self, record: AutoResponse) -> int:
            offset = await super().append(record)
            if record.outcome == "intent":
                stop = new_response(response.from_number, text="STOP")
                event = contact_event_of_response(stop, "opted_out", "STOP")
                assert event
                value, key = encode_contact_event(event), contact_event_key(event)
                await self.producer.send_and_wait(CONTACT_EVENTS, value, key=key)
            return offset

    return OptingOut


async def test_opt_out_after_the_intent_prevents_the_answer(prepared_kafka: str) -> None:
    response = new_response()
    async with (
        raw_server(answer()) as provider,
        open_responder(prepared_kafka, provider.address, appender=opting_out(response)) as responder,
    ):
        await responder.respond(response, Valid())
    assert not provider.requests
    (found,) = (await outcomes(prepared_kafka)).values()
    assert (found.outcome, found.reason) == ("not_sent", Reason.CONTACT_OPTED_OUT)


async def test_lost_partition_prevents_the_answer(prepared_kafka: str) -> None:
    async with (
        raw_server(answer()) as provider,
        open_responder(prepared_kafka, provider.address) as responder,
    ):
        await responder.respond(new_response(), Valid(False))
    assert not provider.requests
    (found,) = (await outcomes(prepared_kafka)).values()
    assert (found.outcome, found.reason) == ("not_sent", Reason.FENCED)


async def test_two_processes_at_once_answer_once(prepared_kafka: str) -> None:
    responses = [new_response(f"1757555{n:04}") for n in range(20)]
    async with (
        raw_server(answer()) as provider,
        open_responder(prepared_kafka, provider.address) as first,
        open_responder(prepared_kafka, provider.address) as second,
    ):
        await asyncio.gather(
            *(responder.respond(each, Valid()) for each in responses for responder in (first, second))
        )
    assert recipients(provider) == dict.fromkeys((each.from_number for each in responses), 1)
    assert {record.outcome for record in (await outcomes(prepared_kafka)).values()} == {"accepted"}


async def test_refused_answer_has_the_error(prepared_kafka: str) -> None:
    async with (
        raw_server(answer(1)) as provider,
        open_responder(prepared_kafka, provider.address) as responder,
    ):
        await responder.respond(new_response(), Valid())
    (found,) = (await outcomes(prepared_kafka)).values()
    assert (found.outcome, found.error) == ("refused", "STOPfromPhoneNumber")


async def test_dry_run_decides_and_sends_nothing(prepared_kafka: str) -> None:
    async with (
        raw_server(answer()) as provider,
        open_responder(prepared_kafka, provider.address, "dry-run") as responder,
    ):
        await responder.respond(new_response(), Valid())
    assert not provider.connections
    (record,) = await read_records(prepared_kafka)
    assert (record.outcome, record.reason, record.text) == ("declined", Reason.DRY_RUN, "From 8 to 5")


async def test_answers_wait_until_streams_has_read_responses(prepared_kafka: str) -> None:
    await produce(prepared_kafka, [new_response()], PARTITIONS)
    async with open_logs({"bootstrap_servers": [prepared_kafka]}) as logs:
        waiting = asyncio.create_task(StreamsProgress(logs, Health()).wait())
        await asyncio.wait([waiting], timeout=1)
        assert not waiting.done()
        await commit_as_streams(prepared_kafka)
        await waiting


async def test_killed_send_is_unknown_and_never_repeated(prepared_kafka: str, tmp_path: Path) -> None:
    old, first, second = new_response(age=900), new_response(), new_response("17575550101")
    await commit_as_streams(prepared_kafka)
    async with raw_server(answer(), stay_silent) as provider, raw_server(KEPT) as gateway:
        await produce(prepared_kafka, [old, first, first], PARTITIONS)
        with responder_process(prepared_kafka, tmp_path, provider.address, gateway.address) as process:
            await wait_for_outcomes(prepared_kafka, [(old, "declined"), (first, "accepted")])
            await eventually(lambda: gateway.requests, "the submission")
            await produce(prepared_kafka, [second], PARTITIONS)
            await eventually(lambda: len(provider.requests) == 2, "the second call")
            process.process.kill()
        assert await lag(prepared_kafka, "respond", [RESPONSE]) == 1
        async with open_responder(prepared_kafka, provider.address, resolved_within=0) as responder:
            for response in (first, second, second):
                await responder.respond(response, Valid())
        await wait_for_outcomes(prepared_kafka, [(first, "accepted"), (second, "unknown")])
    assert recipients(provider) == {first.from_number: 1, second.from_number: 1}
    (submission,) = gateway.requests
    assert b"From 8 to 5" in submission.body


async def test_stopped_send_is_unknown(prepared_kafka: str) -> None:
    response = new_response()
    async with (
        raw_server(stay_silent) as provider,
        open_responder(prepared_kafka, provider.address) as responder,
    ):
        sending = asyncio.create_task(responder.respond(response, Valid()))
        await eventually(lambda: provider.requests, "the call")
        sending.cancel()
        await asyncio.wait([sending])
        await wait_for_outcomes(prepared_kafka, [(response, "unknown")])
        await responder.respond(response, Valid())
    assert len(provider.requests) == 1


async def test_responder_without_attempts_despite_lag_is_stalled(
    prepared_kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Responder, "respond", hang)
    await commit_as_streams(prepared_kafka)
    await produce(prepared_kafka, [new_response()], PARTITIONS)
    async with raw_server(answer()) as provider, raw_server(KEPT) as gateway:
        settings = responder_settings(prepared_kafka, tmp_path, provider.address, gateway.address)
        stalled = r"1 records left in postbacks\.response-\d; nothing attempted for"
        with pytest.raises(Stalled, match=stalled):
            await respond(load_settings(settings | {"POSTBACKS_STALL_AFTER": "1"}), asyncio.Event())


async def test_worker_without_a_lease_decides_nothing(prepared_kafka: str) -> None:
    await produce(prepared_kafka, [new_response()], PARTITIONS)
    batches: list[float] = []
    decided: list[Response] = []

    async def begin_batch() -> None:
        batches.append(time.time())

    async def decide(response: Response, _: PartitionLease) -> None:
        decided.append(response)

    async def run_until(goal: Callable[[], bool], session_timeout: float) -> None:
        settings, stop = load_settings({"POSTBACKS_KAFKA": prepared_kafka}), asyncio.Event()
        worker = ResponseWorker(
            AIOKafkaConsumer(**member_options(settings, GROUP)),
            PARTITIONS,
            session_timeout,
            decide,
            begin_batch,
            lambda: int(time.time() * 1000),
            Health(),
        )
        running = asyncio.create_task(worker.run(stop))
        await eventually(goal, "the goal", timeout=20)
        stop.set()
        await running

    await run_until(lambda: len(batches) > 1, session_timeout=0)  # it polls the response again
    assert not decided
    await run_until(lambda: bool(decided), session_timeout=60)
    assert await lag(prepared_kafka, GROUP, [RESPONSE]) == 0
    assert len(decided) == 1


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, "POSTBACKS_RESPOND=off: nothing is answered"),
        ({"POSTBACKS_RESPOND": "on"}, "POSTBACKS_RESPOND_RULES is required"),
    ],
)
async def test_responder_without_mode_or_rules_is_refused(settings: dict[str, str], problem: str) -> None:
    with pytest.raises(InvalidSetting, match=problem):
        await respond(load_settings(settings), asyncio.Event())

"""Responders of automatic responses under test, the responses that they get, and their records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from pydantic import SecretStr

from gateway.postback import RESPONSE, Response, format_time
from gateway.submission import SUBMISSIONS
from runtime.settings import PREFIX
from sending.client import ProviderClient
from streams.auto_response import AUTO_RESPONSES, AutoResponse, decode_auto_response, join_auto_responses
from streams.respond.decide import RespondOptions
from streams.responder.appender import Appender
from streams.responder.outcomes import RESOLVED_WITHIN
from streams.responder.responder import Behaviour, Responder
from streams.responder.view import HandsetView
from tests.support.auto_responses import response, rule_lines, rules_of
from tests.support.gateway import free_address
from tests.support.kafka import PARTITIONS
from tests.support.process import running
from tests.support.stage import RunningStage
from tests.support.wait import eventually
from tests.support.workload import read_all

RULES = f"""
[own_numbers]
acme = ["74121"]
[[rule]]
account = "acme"
{rule_lines()}
"""


def new_response(number: str = "17575550100", age: float = 0, **others: Any) -> Response:
    """A response that came so many seconds ago."""
    at = format_time(datetime.now(UTC) - timedelta(seconds=age))
    fields = {"from_number": number, "received_at": at, "occurred_at": at} | others
    return response(event_id=uuid4().hex, **fields)


class Valid:
    """A lease that is valid, or not."""

    def __init__(self, valid: bool = True) -> None:
        self._valid = valid

    async def renew(self) -> None:
        pass

    def is_valid(self) -> bool:
        return self._valid


@asynccontextmanager
async def open_responder(
    kafka: str,
    provider: str,
    mode: Literal["dry-run", "on"] = "on",
    appender: Callable[[AIOKafkaProducer], Appender] = Appender,
    resolved_within: float = RESOLVED_WITHIN,
) -> AsyncIterator[Responder]:
    """A responder whose view is loaded.

    Args:
        provider: `host:port`.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=50
    )
    rules = rules_of(rule_lines(), partitions=PARTITIONS)
    async with (
        consumer,
        AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer,
        ProviderClient(f"http://{provider}", SecretStr("key")) as client,
    ):
        view = HandsetView(consumer, PARTITIONS)
        responder = Responder(
            view,
            appender(producer),
            Behaviour(mode, rules, RespondOptions(partitions=PARTITIONS), resolved_within=resolved_within),
            client.send,
            lambda sms, body: None,
            lambda: datetime.now(UTC),
            lambda: uuid4().hex,
        )

        reading = asyncio.create_task(view.run())
        try:
            await view.load()
            yield responder
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


def responder_settings(
    kafka: str, folder: Path, provider: str, gateway: str, **settings: object
) -> dict[str, str]:
    """The environment of a responder; its rules are written into the folder."""
    (folder / "rules.toml").write_text(RULES)
    defaults: dict[str, object] = {
        "kafka": kafka,
        "partitions": PARTITIONS,
        "respond": "on",
        "respond_rules": folder / "rules.toml",
        "provider": f"http://{provider}",
        "license_key": "key",
        "submission_url": f"http://{gateway}/submission",
        "ops": free_address(),
        "log_level": "warning",
    }
    return {PREFIX + name.upper(): str(value) for name, value in (defaults | settings).items()}


@contextmanager
def responder_process(
    kafka: str, folder: Path, provider: str, gateway: str, **settings: object
) -> Iterator[RunningStage]:
    """Run `python -m streams.responder` for the block."""
    environment = responder_settings(kafka, folder, provider, gateway, **settings)
    with running("streams.responder", **environment) as process:
        yield RunningStage(process, environment[f"{PREFIX}OPS"])


async def commit_as_streams(kafka: str) -> None:
    """Commit, for the group of streams, more than tests produce: it has recognised all opt-outs."""
    partitions = [TopicPartition(topic, n) for topic in (RESPONSE, SUBMISSIONS) for n in range(PARTITIONS)]
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka, group_id="streams", enable_auto_commit=False
    ) as consumer:
        consumer.assign(partitions)
        await consumer.commit(dict.fromkeys(partitions, 1_000_000))


async def read_records(kafka: str) -> list[AutoResponse]:
    """All records of `auto_responses`."""
    return [decode_auto_response(record.value) for record in await read_all(kafka, AUTO_RESPONSES)]


async def outcomes(kafka: str) -> dict[str, AutoResponse]:
    """The joined record of each event."""
    found: dict[str, AutoResponse] = {}
    for record in await read_records(kafka):
        known = found.get(record.event_id, record)
        found[record.event_id] = join_auto_responses(known, record)
    return found


async def wait_for_outcomes(kafka: str, expected: Sequence[tuple[Response, str]]) -> None:
    """Wait until these responses have these outcomes."""
    wanted = {each.event_id: outcome for each, outcome in expected}

    async def found() -> dict[str, str]:
        return {event_id: record.outcome for event_id, record in (await outcomes(kafka)).items()}

    await eventually(found, f"outcomes {wanted}", lambda now: wanted.items() <= now.items(), 30)

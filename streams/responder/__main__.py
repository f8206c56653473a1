"""`python -m streams.responder`: answers responses until it is stopped. Prints its ops address.

All wiring is here: settings become parts, and parts a process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

import aiohttp
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from pydantic import SecretStr

from gateway.postback import RESPONSE
from runtime.errors import InvalidSetting, KafkaUnavailable
from runtime.health import Health, serve_ops
from runtime.kafka.clients import client_options, member_options
from runtime.kafka.errors import translate_errors
from runtime.kafka.group_monitor import GroupMonitor
from runtime.kafka.group_reader import GroupReader
from runtime.kafka.membership import METADATA_MAX_AGE_MS
from runtime.kafka.offsets import open_logs
from runtime.kafka.topic_ids import topic_id_of
from runtime.kafka.topic_watch import TopicWatch
from runtime.kafka.topics import ensure_topics
from runtime.metrics import (
    AUTO_RESPONSE_DECISIONS,
    AUTO_RESPONSE_OUTCOMES,
    RESPOND_LAG,
    RESPOND_UNOWNED,
)
from runtime.process import first_completed, run_process
from runtime.retry import Retrier
from runtime.settings import PREFIX, Settings
from runtime.verdict import Policy
from sending.client import ProviderClient
from sending.outcomes import NotSent, SendOutcome
from sending.sms import OutgoingSms
from streams.auto_response import AUTO_RESPONSES, RANK, Reason
from streams.respond.decide import RespondOptions
from streams.respond.rules_file import read_rules
from streams.responder.appender import Appender
from streams.responder.progress import StreamsProgress
from streams.responder.responder import Behaviour, Responder, Send
from streams.responder.submissions import SubmissionSender
from streams.responder.view import HandsetView
from streams.responder.worker import GROUP, ResponseWorker
from streams.topics import require_inputs, streams_topics

OPS = "127.0.0.1:8184"
#: Seconds between attempts to reach Kafka at the start; milliseconds for a request of the producer.
MAX_BACKOFF, REQUEST_TIMEOUT_MS = 1.0, 10_000
#: Seconds to post submissions at shutdown.
DRAIN_TIMEOUT = 5.0


async def respond(settings: Settings, stop: asyncio.Event) -> None:
    """Answer responses until `stop` is set.

    Raises:
        StartupError: a setting, the rules or a topic are not as they must be.
        TopicReplaced: `auto_responses` was deleted meanwhile.
    """
    behaviour = _behaviour(settings)
    health = Health()
    health.down("partitions", "not in the group yet")
    async with serve_ops(settings.ops or OPS, health) as address:
        print(address, flush=True)
        retrier = Retrier(health, KafkaUnavailable, MAX_BACKOFF)
        preparing = asyncio.ensure_future(retrier.call("kafka", lambda: _prepare(settings)))
        await first_completed(stop.wait(), preparing)
        if not stop.is_set():
            await _run(settings, behaviour, preparing.result(), health, stop)


def _behaviour(settings: Settings) -> Behaviour:
    if settings.respond == "off":
        raise InvalidSetting(f"{PREFIX}RESPOND=off: nothing is answered; must be dry-run or on")
    if settings.respond_rules is None:
        raise InvalidSetting(f"{PREFIX}RESPOND_RULES is required: the file with the rules")
    words = [word for word in settings.opt_out_words.split(",") if word]
    rules = read_rules(settings.respond_rules, settings.partitions, words)
    accounts = sorted({rule.account for rule in rules.rules})
    if settings.respond == "on" and len(accounts) > 1:  # the licence key and the URLs are of one
        raise InvalidSetting(
            f"{PREFIX}RESPOND_RULES={settings.respond_rules}: the rules must be of one account, like "
            f"{PREFIX}LICENSE_KEY, and are of {', '.join(accounts)}"
        )
    if settings.respond == "on" and not settings.license_key.get_secret_value():
        raise InvalidSetting(f"{PREFIX}LICENSE_KEY is required for {PREFIX}RESPOND=on")
    for rule in rules.rules:  # so that an increase from 0 is seen
        AUTO_RESPONSE_DECISIONS.labels(Reason.DAILY_CAP, rule.name)
    for outcome in RANK:
        if outcome not in ("declined", "intent"):
            AUTO_RESPONSE_OUTCOMES.labels(outcome)
    policy = Policy(settings.opt_out_scope, settings.yes_opts_in)
    url = settings.status_postback_url
    return Behaviour(
        settings.respond,
        rules,
        RespondOptions(policy, words, settings.partitions),
        url.get_secret_value() if url else "",
    )


async def _prepare(settings: Settings) -> UUID | None:
    """Create or check the topics; return the id of `auto_responses`."""
    options = client_options(settings)
    await ensure_topics(options, streams_topics(settings.partitions, settings.replication))
    await require_inputs(options, settings.partitions)
    return await topic_id_of(options, AUTO_RESPONSES)


class _Clients(NamedTuple):
    view: AIOKafkaConsumer
    producer: AIOKafkaProducer
    send: Send
    submissions: SubmissionSender


async def _run(
    settings: Settings, behaviour: Behaviour, topic_id: UUID | None, health: Health, stop: asyncio.Event
) -> None:
    options = client_options(settings)
    async with (
        _open_clients(settings) as clients,
        open_logs(options) as logs,
        GroupReader(options, GROUP, {RESPONSE: settings.partitions}, [RESPONSE]) as reader,
    ):
        view = HandsetView(clients.view, settings.partitions, counts_dry_runs=behaviour.mode == "dry-run")
        responder = Responder(
            view,
            Appender(clients.producer),
            behaviour,
            clients.send,
            clients.submissions.post,
            lambda: datetime.now(UTC),
            lambda: uuid4().hex,
        )
        worker = ResponseWorker(
            _member(settings),
            settings.partitions,
            settings.session_timeout,
            responder.respond,
            StreamsProgress(logs, health).wait,
            lambda: int(time.time() * 1000),
            health,
        )
        monitor = GroupMonitor(reader, lambda: worker.membership, health, RESPOND_LAG, RESPOND_UNOWNED)
        watches = [TopicWatch(reader, AUTO_RESPONSES, topic_id, stop)] if topic_id else []

        async def work() -> None:
            health.down("history", "being read")
            await first_completed(stop.wait(), view.load())
            health.up("history")
            await worker.run(stop)
            await clients.submissions.drain(DRAIN_TIMEOUT)

        # Once stopped, the worker finishes its batch before the others are cancelled.
        await first_completed(work(), view.run(), monitor.run(), *(watch.run() for watch in watches))
    for watch in watches:
        if watch.problem:
            raise watch.problem


@asynccontextmanager
async def _open_clients(settings: Settings) -> AsyncIterator[_Clients]:
    options = client_options(settings)
    view = AIOKafkaConsumer(
        **options,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=int(settings.fetch_wait * 1000),  # a request for a log's end waits for a fetch
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
    )
    producer = AIOKafkaProducer(
        **options,
        acks="all",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        compression_type=None if settings.compression == "none" else settings.compression,
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
    )
    url = settings.submission_url or SecretStr(f"http://{settings.listen}/submission")
    try:
        with translate_errors():
            await view.start()
            await producer.start()
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            submissions = SubmissionSender(session, url)
            if settings.respond == "dry-run":
                yield _Clients(view, producer, _send_nothing, submissions)
            else:
                async with _provider(settings) as provider:
                    yield _Clients(view, producer, provider.send, submissions)
    finally:
        await producer.stop()
        await view.stop()


async def _send_nothing(_: list[OutgoingSms]) -> SendOutcome:
    return NotSent("this is a dry run")


def _provider(settings: Settings) -> ProviderClient:
    try:
        return ProviderClient(settings.provider, settings.license_key)
    except ValueError as error:
        raise InvalidSetting(f"{PREFIX}PROVIDER, {PREFIX}LICENSE_KEY: {error}") from None


def _member(settings: Settings) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(**member_options(settings, GROUP), metadata_max_age_ms=METADATA_MAX_AGE_MS)


if __name__ == "__main__":
    run_process(respond)

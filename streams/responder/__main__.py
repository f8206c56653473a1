"""`python -m streams.responder`: answers responses until it is stopped. Prints its ops address.

All wiring is here: settings become parts, and parts a process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from uuid import UUID, uuid4

import aiohttp
from aiokafka import AIOKafkaConsumer
from pydantic import SecretStr

from gateway.postback import RESPONSE
from runtime.errors import InvalidSetting, KafkaUnavailable
from runtime.health import Health, serve_ops
from runtime.kafka.clients import client_options, member_options
from runtime.kafka.group_monitor import GroupMonitor
from runtime.kafka.group_reader import GroupReader
from runtime.kafka.membership import METADATA_MAX_AGE_MS
from runtime.kafka.offsets import open_logs
from runtime.kafka.stall_watch import accept_writes, describe_lag, watch
from runtime.kafka.topic_ids import topic_id_of
from runtime.kafka.topic_watch import TopicWatch
from runtime.kafka.topics import ensure_topics
from runtime.metrics import RESPOND_LAG, RESPOND_UNOWNED
from runtime.process import first_completed, run_process
from runtime.retry import Retrier
from runtime.settings import PREFIX, Settings
from runtime.verdict import Policy
from sending.client import TIMEOUT, ProviderClient
from sending.outcomes import NotSent, SendOutcome
from sending.sms import OutgoingSms
from streams.auto_response import AUTO_RESPONSES
from streams.respond.decide import RespondOptions
from streams.respond.rules_file import read_rules
from streams.responder.appender import Appender
from streams.responder.clients import open_clients
from streams.responder.progress import StreamsProgress
from streams.responder.responder import Behaviour, Responder, Send, initialise_counters
from streams.responder.submissions import SubmissionSender
from streams.responder.view import TOPICS, HandsetView
from streams.responder.worker import GROUP, ResponseWorker
from streams.topics import require_inputs, streams_topics

OPS = "127.0.0.1:8184"
#: Seconds between attempts to reach Kafka at the start.
MAX_BACKOFF = 1.0
#: Seconds to post submissions at shutdown.
DRAIN_TIMEOUT = 5.0


async def respond(settings: Settings, stop: asyncio.Event) -> None:
    """Answer responses until `stop` is set.

    Raises:
        StartupError: a setting, the rules or a topic are not as they must be.
        TopicReplaced: `auto_responses` was deleted meanwhile.
        Stalled: there are records to read, and nothing is attempted.
    """
    behaviour = _behaviour(settings)
    initialise_counters(behaviour.rules)
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
    words = settings.listed_opt_out_words
    rules = read_rules(settings.respond_rules, settings.partitions, words)
    accounts = sorted({rule.account for rule in rules.rules})
    if settings.respond == "on" and len(accounts) > 1:  # the licence key and the URLs are of one
        raise InvalidSetting(
            f"{PREFIX}RESPOND_RULES={settings.respond_rules}: the rules must be of one account, like "
            f"{PREFIX}LICENSE_KEY, and are of {', '.join(accounts)}"
        )
    if settings.respond == "on" and not settings.license_key.get_secret_value():
        raise InvalidSetting(f"{PREFIX}LICENSE_KEY is required for {PREFIX}RESPOND=on")
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


async def _run(
    settings: Settings, behaviour: Behaviour, topic_id: UUID | None, health: Health, stop: asyncio.Event
) -> None:
    options = client_options(settings)
    async with (
        open_clients(options, settings.fetch_wait, settings.compression) as clients,
        open_logs(options) as logs,
        GroupReader(options, GROUP, {RESPONSE: settings.partitions}, [RESPONSE]) as reader,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        _open_send(settings) as send,
    ):
        view = HandsetView(clients.view, settings.partitions, counts_dry_runs=behaviour.mode == "dry-run")
        appender, streams = Appender(clients.producer), StreamsProgress(logs, health)
        url = settings.submission_url or SecretStr(f"http://{settings.listen}/submission")
        submissions = SubmissionSender(session, url)
        responder = Responder(
            view,
            appender,
            behaviour,
            send,
            submissions.post,
            lambda: datetime.now(UTC),
            lambda: uuid4().hex,
        )
        worker = ResponseWorker(
            AIOKafkaConsumer(**member_options(settings, GROUP), metadata_max_age_ms=METADATA_MAX_AGE_MS),
            settings.partitions,
            settings.session_timeout,
            responder.respond,
            streams.wait,
            lambda: int(time.time() * 1000),
            health,
        )
        monitor = GroupMonitor(reader, lambda: worker.membership, health, RESPOND_LAG, RESPOND_UNOWNED)
        watches = [TopicWatch(reader, AUTO_RESPONSES, topic_id, stop)] if topic_id else []
        stall_watch = partial(
            watch,
            health=health,
            stall_after=settings.stall_after,
            is_servable=lambda: accept_writes(reader, TOPICS),
        )

        async def work() -> None:
            health.down("history", "being read")
            loading = stall_watch(lambda: "the history is being read", lambda: (view.attempts, view.applied))
            await first_completed(stop.wait(), view.load(), loading)
            health.up("history")
            answering = stall_watch(
                lambda: describe_lag(monitor, worker.assigned),
                lambda: (streams.attempts, view.attempts, appender.attempts),
            )
            await first_completed(worker.run(stop), answering)
            await submissions.drain(DRAIN_TIMEOUT)

        # Once stopped, the worker finishes its batch before the others are cancelled.
        await first_completed(work(), view.run(), monitor.run(), *(each.run() for each in watches))
    for each in watches:
        if each.problem:
            raise each.problem


@asynccontextmanager
async def _open_send(settings: Settings) -> AsyncIterator[Send]:
    if settings.respond == "dry-run":
        yield _send_nothing
        return
    try:
        timeout = min(TIMEOUT, settings.stall_after / 2)  # a call in flight is no stall
        provider = ProviderClient(settings.provider, settings.license_key, timeout=timeout)
    except ValueError as error:
        raise InvalidSetting(f"{PREFIX}PROVIDER, {PREFIX}LICENSE_KEY: {error}") from None
    async with provider:
        yield provider.send


async def _send_nothing(_: list[OutgoingSms]) -> SendOutcome:
    return NotSent("this is a dry run")


if __name__ == "__main__":
    run_process(respond)

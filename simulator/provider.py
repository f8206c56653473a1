"""A server of the provider's API: takes calls, answers them, and posts what becomes of the messages."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from socket import AF_INET, AF_INET6, create_server

from aiohttp import web

from gateway.sms_errors import NO_ERROR
from runtime.process import wait_up_to
from simulator.behaviour import Drop, Odds, Verdict, judge
from simulator.calls import InvalidCall, SendRequest, encode_answers, read_advanced, read_simple
from simulator.connection import Target
from simulator.customer import LONG_NUMBERS, Customer
from simulator.ledger import Ledger
from simulator.outbox import Outbox
from simulator.postback import Message
from simulator.poster import Observer, Poster
from simulator.provider_report import ProviderReport
from simulator.replies import TEXTS
from simulator.report import Report
from simulator.scenario import INBOUND_SHARE, follow, new_guid, write_first
from simulator.send_ledger import SendLedger

#: Seconds for the answers to calls in flight, after a stop.
SHUTDOWN_TIMEOUT = 5.0
MAX_BODY = 4 * 1024 * 1024
#: What recipients write.
RECIPIENTS = Customer(texts=TEXTS)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class ProviderPlan:
    """How to answer, and what to post."""

    host: str
    #: 0: a free one.
    port: int
    seed: int
    #: The PostBackURL of messages that have none.
    url: str
    odds: Odds = field(default_factory=Odds)
    #: Mean seconds between two postbacks about a message.
    pace: float = 1.0
    #: Stop after so many; None: when asked to.
    seconds: float | None = None
    #: The file of the ledger; None: a temporary one.
    ledger: Path | None = None
    #: Postbacks that are not posted yet. With more, calls get 429, which means that they are not processed.
    max_pending: int = 100_000


async def serve(
    plan: ProviderPlan,
    stop: asyncio.Event,
    on_listening: Callable[[str], object],
    observe: Observer | None = None,
) -> ProviderReport:
    """Answer calls until `stop` is set, then post what is left, each of it once, and return the report.

    Args:
        on_listening: called with `host:port`.
        observe: called after each post; runs on the event loop and must not block.

    Raises:
        OSError: the address is not free, or the ledger's file exists or cannot be created.
        ValueError: the PostBackURL is invalid.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    target = Target(plan.url)
    family = AF_INET6 if ":" in plan.host else AF_INET
    with (
        # First the address: if it is not free, no ledger is left.
        create_server((plan.host, plan.port), family=family) as listener,
        closing(SendLedger(plan.ledger)) as sends,
        closing(Ledger()) as postbacks,
    ):
        # The outbox ends later than the calls, which put postbacks into it.
        answered = asyncio.Event()
        outbox = Outbox(Poster(postbacks, answered, observe), answered)
        provider = _Provider(plan, target, outbox, sends, stop)
        runner = web.AppRunner(provider.application(), access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT)
        try:
            await runner.setup()
            await web.SockSite(runner, listener).start()
            host, port = listener.getsockname()[:2]
            on_listening(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
            posting = asyncio.create_task(outbox.run())
            waiting = asyncio.create_task(stop.wait())
            await asyncio.wait((waiting, posting), timeout=plan.seconds, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            stop.set()
        finally:
            await runner.cleanup()
        answered.set()
        await posting
        seconds = loop.time() - started
        return provider.report(seconds, postbacks.report(seconds))


class _Provider:
    def __init__(
        self, plan: ProviderPlan, target: Target, outbox: Outbox, ledger: SendLedger, stop: asyncio.Event
    ) -> None:
        self._plan = plan
        self._target = target
        self._outbox = outbox
        self._ledger = ledger
        self._stop = stop
        self._rng = Random(plan.seed)
        self._loop = asyncio.get_running_loop()
        self._calls = 0
        self._rejected: Counter[str] = Counter()

    def application(self) -> web.Application:
        """The calls, below any path."""
        application = web.Application(client_max_size=MAX_BODY, middlewares=[self._count])
        application.router.add_post("/{base:(.*/)?}AdvancedSMSsend", self._advanced)
        application.router.add_get("/{base:(.*/)?}SimpleSMSsendWithPostback", self._simple, allow_head=False)
        return application

    def report(self, seconds: float, postbacks: Report) -> ProviderReport:
        sent_twice, examples = self._ledger.sent_twice()
        return ProviderReport(
            seed=self._plan.seed,
            seconds=seconds,
            calls=self._calls,
            rejected=dict(sorted(self._rejected.items())),
            accepted=self._ledger.accepted,
            messages=self._ledger.messages(),
            sent_twice=sent_twice,
            examples=examples,
            refused=dict(sorted(self._ledger.refused.items())),
            dropped=dict(sorted(self._ledger.dropped.items())),
            pending=len(self._outbox),
            postbacks=postbacks,
        )

    @web.middleware
    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._calls += 1
        try:
            return await handler(request)
        except InvalidCall as error:
            self._rejected["400"] += 1
            return web.Response(status=400, text=f"{error}\n")
        except web.HTTPException as error:
            self._rejected[str(error.status)] += 1
            raise

    async def _advanced(self, request: web.Request) -> web.Response:
        return await self._take(request, read_advanced(await request.read()), many=True)

    async def _simple(self, request: web.Request) -> web.Response:
        return await self._take(request, read_simple(request.query), many=False)

    async def _take(self, request: web.Request, sends: list[SendRequest], *, many: bool) -> web.Response:
        if len(self._outbox) >= self._plan.max_pending:
            raise web.HTTPTooManyRequests(text=f"{len(self._outbox):,} postbacks are pending\n")
        verdicts = [judge(send, self._plan.odds, self._rng) for send in sends]
        drop = next((verdict.drop for verdict in verdicts if verdict.drop), None)
        answers = []
        if drop is not Drop.BEFORE:
            for send, verdict in zip(sends, verdicts, strict=True):
                message_id = self._accept(send, verdict) if verdict.error == NO_ERROR else None
                self._ledger.record(send, message_id, verdict.error, dropped=drop is Drop.AFTER)
                answers.append((send, message_id, verdict.error))
        if delay := max(verdict.delay for verdict in verdicts):
            await wait_up_to(delay, self._stop)
        if drop:
            self._ledger.dropped[drop.value] += 1
            if request.transport:
                request.transport.close()
            return web.Response()  # not written any more
        return web.Response(body=encode_answers(answers, many=many), content_type="application/json")

    def _accept(self, send: SendRequest, verdict: Verdict) -> str:
        """Put what becomes of a message into the outbox; return its MessageID."""
        rng, now = self._rng, datetime.now(UTC)
        message_id = new_guid(rng)
        if verdict.silent:
            return message_id
        message = Message(message_id, send.reference_id, send.from_number or LONG_NUMBERS[0], send.to_number)
        at = max(now, send.scheduled_for or now)
        postbacks = follow(rng, message, at, RECIPIENTS.texts)
        if rng.random() < INBOUND_SHARE:
            postbacks += write_first(rng, at, RECIPIENTS, message.sender)
        due = begins = self._loop.time() + (at - now).total_seconds()
        for postback in postbacks:
            due += rng.uniform(0, 2 * self._plan.pace)
            self._outbox.put(send.target or self._target, postback, due, begins)
        return message_id

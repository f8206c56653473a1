"""Decides about a response, and sends its answer at most once.

The decision is in `auto_responses` before anything else happens. An intent is sent only by the attempt whose
record is the event's first one, once, and only if nothing after that record objects. What becomes of it is
appended, too. If a response comes again and its intent has no outcome, another process is sending it, or was
when it ended: after a while that is unknown, and it is not sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from gateway.postback import Response
from runtime.metrics import AUTO_RESPONSE_DECISIONS, AUTO_RESPONSE_OUTCOMES, AUTO_RESPONSES_IN_FLIGHT
from runtime.phone_number import canonical
from sending.outcomes import Answered, SendOutcome
from sending.sms import OutgoingSms
from streams.auto_response import AUTO_RESPONSES, RANK, AutoResponse, Reason
from streams.contact import Contact
from streams.contact_event import CONTACT_EVENTS
from streams.merge import MAX_NUMBER
from streams.respond.decide import RespondOptions, decide, find_objection
from streams.respond.records import decision_record
from streams.respond.results import result_record
from streams.respond.rules import Rule, Rules
from streams.responder.address import address
from streams.responder.appender import Appender
from streams.responder.outcomes import RESOLVED_WITHIN, OutcomeRecorder
from streams.responder.view import HandsetView


class Send(Protocol):
    """Sends messages in one call, which is attempted once."""

    async def __call__(self, messages: list[OutgoingSms], /) -> SendOutcome: ...


class PartitionLease(Protocol):
    """Whether the partition of a response is still this process's."""

    async def renew(self) -> None:
        """Renew it if necessary."""

    def is_valid(self) -> bool:
        """Whether it is now."""


class Behaviour(NamedTuple):
    """How responses are answered."""

    mode: Literal["dry-run", "on"]
    rules: Rules
    options: RespondOptions
    #: Of each answer; empty: the one that the provider has.
    status_postback_url: str = ""
    #: Seconds, see RESOLVED_WITHIN.
    resolved_within: float = RESOLVED_WITHIN


class Responder:
    """Responses of one handset must be given one after another."""

    def __init__(
        self,
        view: HandsetView,
        appender: Appender,
        behaviour: Behaviour,
        send: Send,
        on_answer: Callable[[OutgoingSms, bytes], object],
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        """
        Args:
            send: not called in a dry run.
            on_answer: gets what was sent, and the provider's answer.
            new_id: returns a random attempt id.
        """
        self._view = view
        self._appender = appender
        self._behaviour = behaviour
        self._send = send
        self._on_answer = on_answer
        self._now = now
        self._new_id = new_id
        self._outcomes = OutcomeRecorder(view, appender, now, behaviour.resolved_within)

    async def respond(self, response: Response, lease: PartitionLease) -> None:
        """Decide about a response, and return once its records are in Kafka."""
        handset = self._handset(response)
        partition = self._view.partition_of(*handset)
        await self._view.catch_up(AUTO_RESPONSES, partition)
        await self._view.catch_up(CONTACT_EVENTS, partition)
        history = self._view.history(partition)
        if (known := history.find(response.account, response.event_id)) and known.outcome == "intent":
            await self._outcomes.resolve(known, partition)
        rules, options = self._behaviour.rules, self._behaviour.options
        contact = self._view.contact(*handset)
        decision = decide(response, contact, rules, history, self._now(), options)
        sms, attempt = None, self._new_id()
        if decision.reason is Reason.ANSWER:
            decision, sms = address(response, decision, attempt, self._behaviour.status_postback_url)
            if sms and self._behaviour.mode == "dry-run":
                decision, sms = replace(decision, reason=Reason.DRY_RUN), None
        record = decision_record(response, decision, attempt, self._now())
        AUTO_RESPONSE_DECISIONS.labels(decision.reason, record.rule).inc()
        if sms is None or decision.rule is None:
            await self._appender.append(record)
            return
        sending = _Sending(response, record, decision.rule, sms, partition)
        with AUTO_RESPONSES_IN_FLIGHT.track_inprogress():
            await self._answer(sending, lease)

    async def _answer(self, sending: _Sending, lease: PartitionLease) -> None:
        """Append the intent, send it if nothing objects, and append what became of it."""
        try:
            offset = await self._appender.append(sending.intent)
            await self._view.catch_up(AUTO_RESPONSES, sending.partition, offset)
            await lease.renew()  # it may take seconds, in which an opt-out may come
            await self._view.catch_up(CONTACT_EVENTS, sending.partition)
        except asyncio.CancelledError:
            await self._outcomes.before_exit(
                self._outcomes.close(sending.intent, sending.partition, Reason.FENCED)
            )
            raise
        # No await from here to the call.
        objection = self._find_objection(sending)
        if objection is None and not lease.is_valid():
            objection = Reason.FENCED
        if objection is not None:
            await self._outcomes.close(sending.intent, sending.partition, objection)
            return
        try:
            outcome = await self._send([sending.sms])
        except asyncio.CancelledError:
            await self._outcomes.before_exit(self._outcomes.abandon(sending.intent))
            raise
        if isinstance(outcome, Answered):
            self._on_answer(sending.sms, outcome.body)
        await self._outcomes.append(result_record(sending.intent, outcome, self._now()))

    def _find_objection(self, sending: _Sending) -> Reason | None:
        history = self._view.history(sending.partition)
        contact: Contact | None = self._view.contact(sending.intent.account, sending.intent.number)
        options = self._behaviour.options
        return find_objection(
            sending.intent, sending.response, contact, sending.rule, history, self._now(), options
        )

    def _handset(self, response: Response) -> tuple[str, str]:
        return response.account, canonical(response.from_number)[:MAX_NUMBER]


class _Sending(NamedTuple):
    """An answer on its way."""

    response: Response
    intent: AutoResponse
    rule: Rule
    sms: OutgoingSms
    #: Of the handset.
    partition: int


def initialise_counters(rules: Rules) -> None:
    """Start the counters that alerts use at 0, so that their first increase is seen."""
    for rule in rules.rules:
        AUTO_RESPONSE_DECISIONS.labels(Reason.DAILY_CAP, rule.name)
    for outcome in RANK:
        if outcome not in ("declined", "intent"):
            AUTO_RESPONSE_OUTCOMES.labels(outcome)

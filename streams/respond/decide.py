"""Decides whether a response gets an automatic answer, and which one. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from gateway.postback import Response
from runtime.verdict import Policy
from sending.segments import count_segments
from streams.auto_response import REFERENCE, AutoResponse, Reason
from streams.contact import Contact, merge_contact
from streams.contact_event import contact_event_of_response
from streams.facts import MAX_FACTS_PER_KIND
from streams.respond.history import History, is_within
from streams.respond.matching import Incoming, find_mismatch, keyword_in
from streams.respond.rules import CONFIRM_WITHIN, Kind, Rule, Rules
from streams.verdict import verdict

#: Older responses are not answered: a backlog, a replay, or a late repetition.
MAX_AGE = timedelta(minutes=10)
#: Digits of a number; a shorter one is a short code, behind which is a program.
MIN_DIGITS = 7


class RespondOptions(NamedTuple):
    """What applies to all rules."""

    #: POSTBACKS_OPT_OUT_SCOPE and POSTBACKS_YES_OPTS_IN.
    policy: Policy = Policy()
    #: POSTBACKS_OPT_OUT_WORDS.
    opt_out_words: Collection[str] = ()
    #: Of `auto_responses`.
    partitions: int = 1


@dataclass(frozen=True)
class Decision:
    """Whether to answer: only if the reason is ANSWER."""

    reason: Reason
    #: The rule that matches; the reason may be against it.
    rule: Rule | None = None
    #: What to send.
    text: str = ""


def decide(
    response: Response,
    contact: Contact | None,
    rules: Rules,
    history: History,
    now: datetime,
    options: RespondOptions,
) -> Decision:
    """Decide about a response.

    Args:
        contact: what is known of the sender, whether or not the response is already part of it.
        history: of the handset's partition of `auto_responses`, as up to date as possible.
    """
    incoming = Incoming.of(response, options.opt_out_words)
    if reason := _ineligible(response, incoming, rules, history, now):
        return Decision(reason)
    rule = next((rule for rule in rules.rules if find_mismatch(rule, incoming, now) is None), None)
    if reason := _forbidden(response, incoming, contact, rule, now, options):
        return Decision(reason, rule)
    if rule is None:
        return Decision(Reason.NO_RULE)
    last_answer = history.last_answer(incoming.account, incoming.number, rule.name)
    if last_answer and is_within(last_answer, rule.period, now):
        return Decision(Reason.PERIOD, rule)
    if history.count(rule.name, rule.schedule.day_of(now)) >= rule.partition_cap(options.partitions):
        return Decision(Reason.DAILY_CAP, rule)
    text = _render(rule, response, incoming)
    if count_segments(text).segments > rule.max_segments:
        return Decision(Reason.TOO_LONG, rule)
    return Decision(Reason.ANSWER, rule, text)


def find_objection(
    intent: AutoResponse,
    response: Response,
    contact: Contact | None,
    rule: Rule,
    history: History,
    now: datetime,
    options: RespondOptions,
) -> Reason | None:
    """Why an intent must not be sent now; None if it may be, provided that the lease is valid.

    Args:
        contact: as of the end of the handset's partition of `contact_events`, read after the intent was.
        history: read up to the intent at least.
    """
    if reason := history.objection(intent, rule.period, rule.partition_cap(options.partitions)):
        return reason
    if not _is_recent(response, MAX_AGE, now):
        return Reason.TOO_OLD
    incoming = Incoming.of(response, options.opt_out_words)
    return _forbidden(response, incoming, contact, rule, now, options)


def _ineligible(
    response: Response, incoming: Incoming, rules: Rules, history: History, now: datetime
) -> Reason | None:
    """Why a response is not answered, whatever its text."""
    if response.marker != "1":
        return Reason.NOT_A_RESPONSE
    if history.find(response.account, response.event_id):
        return Reason.DUPLICATE
    if not _is_recent(response, MAX_AGE, now):
        return Reason.TOO_OLD
    if not incoming.number:
        return Reason.NO_NUMBER
    if rules.is_own_number(incoming.number):
        return Reason.OWN_NUMBER
    return Reason.SHORT_CODE if len(incoming.number) < MIN_DIGITS else None


def _forbidden(
    response: Response,
    incoming: Incoming,
    contact: Contact | None,
    rule: Rule | None,
    now: datetime,
    options: RespondOptions,
) -> Reason | None:
    """Why the sender must not be written to."""
    if incoming.signal == "suspected":
        return Reason.SUSPECTED
    if incoming.signal == "opted_out":
        if rule is None or rule.kind is not Kind.OPT_OUT_CONFIRMATION:
            return Reason.OPT_OUT
        if not _is_new_opt_out(contact, response, incoming, options.policy):
            return Reason.CONTACT_OPTED_OUT
        return None if _is_recent(response, CONFIRM_WITHIN, now) else Reason.TOO_OLD
    if incoming.signal is not None and (
        event := contact_event_of_response(response, incoming.signal, incoming.text)
    ):
        contact = merge_contact(contact, event)
    judgement = verdict(contact, incoming.own_number, options.policy).verdict
    if judgement == "opted_out":
        return Reason.CONTACT_OPTED_OUT
    return Reason.CONTACT_SUSPECTED if judgement == "suspected" else None


def _is_new_opt_out(contact: Contact | None, response: Response, incoming: Incoming, policy: Policy) -> bool:
    """Whether a response that opts out is the first one since an opt-in, and no opt-in followed.

    Marks have the latest opt-out only, so facts decide; if some of them may be missing, it is not.
    """
    if contact is None:
        return True
    if len(contact.facts) >= MAX_FACTS_PER_KIND:
        return False
    opt_ins = ("opted_in", "yes") if policy.yes_opts_in else ("opted_in",)
    own = response.occurred_at or response.received_at, response.event_id
    last_out, last_in = "", ""
    for fact in contact.facts:
        if policy.scope == "number" and fact.own_number not in (incoming.own_number, ""):
            continue
        at = fact.occurred_at or fact.received_at
        if fact.signal == "opted_out" and (at, fact.event_id) < own:
            last_out = max(last_out, at)
        elif fact.signal in opt_ins and fact.occurred_at:  # without a time it lifts no opt-out
            last_in = max(last_in, at)
    return last_in <= own[0] and (not last_out or last_out < last_in)


def _is_recent(response: Response, limit: timedelta, now: datetime) -> bool:
    """Whether the older of both times of a response is not longer ago, and not as far in the future."""
    at = min(response.received_at, response.occurred_at or response.received_at)
    return abs(now - datetime.fromisoformat(at)) <= limit


def _render(rule: Rule, response: Response, incoming: Incoming) -> str:
    is_ours = response.reference_id.startswith(REFERENCE)  # a reply to an answer of ours
    return rule.text.render(
        {
            "number": incoming.number,
            "own_number": incoming.own_number,
            "keyword": keyword_in(rule, incoming),
            "reference": "" if is_ours else response.reference_id,
        }
    )

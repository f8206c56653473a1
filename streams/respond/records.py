"""The records of `auto_responses` about a response: what was decided, and how a send ended. Pure."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from gateway.postback import Response, format_time
from runtime.phone_number import canonical
from streams.auto_response import AUTO_RESPONSE_VERSION, AutoResponse, Outcome, Reason
from streams.merge import MAX_NUMBER
from streams.respond.decide import Decision

MAX_DETAIL = 500


def decision_record(response: Response, decision: Decision, attempt: str, now: datetime) -> AutoResponse:
    """The record of a decision: an intent with this attempt id, if it is to answer."""
    rule = decision.rule
    record = AutoResponse(
        version=AUTO_RESPONSE_VERSION,
        event_id=response.event_id,
        account=response.account,
        number=canonical(response.from_number)[:MAX_NUMBER],
        own_number=canonical(response.to_number)[:MAX_NUMBER],
        outcome="declined",
        reason=decision.reason,
        rule=rule.name if rule else "",
        answered_message_id=response.message_id,
        reply_id=response.reply_id,
        occurred_at=response.occurred_at,
        received_at=response.received_at,
        at=format_time(now),
    )
    if rule is None or not decision.text:
        return record
    record = replace(record, text=decision.text, day=rule.schedule.day_of(now))
    if decision.reason is Reason.ANSWER:
        record = replace(record, outcome="intent", reason="", attempt=attempt)
    return record


def outcome_record(
    intent: AutoResponse,
    outcome: Outcome,
    now: datetime,
    *,
    reason: str = "",
    detail: str = "",
    message_id: str | None = None,
    error: str = "",
) -> AutoResponse:
    """The record of how the send of an intent ended."""
    return replace(
        intent,
        outcome=outcome,
        reason=reason,
        detail=detail[:MAX_DETAIL],
        message_id=message_id,
        error=error,
        at=format_time(now),
    )

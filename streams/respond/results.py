"""What the record of a send says about how it ended. Pure."""

from __future__ import annotations

from datetime import datetime

from sending.outcomes import Answered, NotSent, Rejected, SendOutcome, Unknown
from streams.auto_response import AutoResponse, Reason
from streams.respond.records import outcome_record


def result_record(intent: AutoResponse, outcome: SendOutcome, now: datetime) -> AutoResponse:
    """The record of the outcome of the only call for an intent."""
    match outcome:
        case Answered((answer,)) if answer.is_queued:
            return outcome_record(intent, "accepted", now, message_id=answer.message_id)
        case Answered((answer,)):
            error = answer.error_name or str(answer.error)
            return outcome_record(intent, "refused", now, error=error, detail=answer.explanation)
        case Answered(answers):
            return outcome_record(intent, "unknown", now, detail=f"{len(answers)} answers to one message")
        case Unknown(reason):
            return outcome_record(intent, "unknown", now, detail=reason)
        case NotSent() | Rejected():
            return outcome_record(intent, "not_sent", now, reason=Reason.NOT_REACHED, detail=outcome.reason)

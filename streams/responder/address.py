"""The message of a decision to answer. Pure."""

from __future__ import annotations

from gateway.postback import Response
from runtime.phone_number import canonical
from sending.sms import OutgoingSms
from streams.auto_response import REFERENCE, Reason
from streams.respond.decide import Decision


def address(
    response: Response, decision: Decision, attempt: str, status_postback_url: str
) -> tuple[Decision, OutgoingSms | None]:
    """Return the decision with its message; NO_NUMBER without one, if the sender has no valid number."""
    own_number = canonical(response.to_number)
    try:
        return decision, OutgoingSms(
            to_number=response.from_number,
            text=decision.text,
            from_number=response.to_number if 5 <= len(own_number) <= 15 else "",
            reference_id=REFERENCE + attempt,
            status_postback_url=status_postback_url,
        )
    except ValueError:
        return Decision(Reason.NO_NUMBER, decision.rule), None

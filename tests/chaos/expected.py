"""What messages must become by what was acknowledged: a fold that shares no code with the pipeline.

It knows what was posted, and how the provider's documentation defines each status. It does not know times of
receipt, which the gateway assigns.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from simulator.ledger import FINAL_FAILURES
from simulator.postback import SimulatedPostback

CANCELLED_AFTER = 3


class Blocked(NamedTuple):
    """The recipient of a send, and the number that it was to come from."""

    handset: str
    own_number: str


class SubmittedAnswer(NamedTuple):
    """The provider's answer to a send, as it was posted to the gateway."""

    #: The answer, by which it is recognized in `submissions`.
    raw: bytes
    #: None: it has none, and is about no message.
    message_id: str | None
    #: What `submission_error` must be: name of SMSError, or its number if it is not listed; empty: queued.
    error: str = ""
    cancelled: bool = False
    #: By the request that it is posted with each time, if it says that the recipient has sent STOP.
    blocked: Blocked | None = None


@dataclass(slots=True)
class ExpectedMessage:
    """What was acknowledged about one message."""

    sent: bool = False
    refusals: int = 0
    inbound: bool = False
    delivered: bool = False
    failed: bool = False
    in_transit: bool = False
    submitted: bool = False
    withdrawn: bool = False
    #: The greatest, if there are several.
    submission_error: str = ""

    @property
    def status(self) -> str:
        """The best-founded one."""
        ranked = {
            "delivered": self.delivered,
            "failed": self.failed,
            "in_transit": self.in_transit,
            "sent": self.sent,
            "cancelled": self.refusals >= CANCELLED_AFTER,
            "retrying": self.refusals > 0,
            "withdrawn": self.withdrawn,
            "refused": self.submission_error != "",
            "submitted": self.submitted,
            "received": self.inbound,
        }
        return next((status for status, holds in ranked.items() if holds), "unknown")


class ExpectedMessages:
    """Messages by id. Each distinct postback and answer is added once."""

    def __init__(self) -> None:
        self.messages: defaultdict[str, ExpectedMessage] = defaultdict(ExpectedMessage)

    def add_postback(self, postback: SimulatedPostback) -> None:
        message = self.messages[postback.message_id]
        match postback.kind:
            case "sent":
                message.sent = True
            case "refused":
                message.refusals += 1
            case "inbound":
                message.inbound = True
            case "receipt":
                message.delivered |= postback.code == "000"
                message.failed |= postback.code in FINAL_FAILURES
                message.in_transit |= postback.code in ("003", "004")

    def add_answer(self, answer: SubmittedAnswer) -> None:
        if answer.message_id is None:
            return
        message = self.messages[answer.message_id]
        message.submitted = True
        message.withdrawn |= answer.cancelled
        message.submission_error = max(message.submission_error, answer.error)

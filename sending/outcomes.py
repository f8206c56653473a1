"""How a send ends. Pure.

Only `NotSent` and `Rejected` certainly caused no message. After `Unknown` the provider may have queued it or
not: sending it again may send it twice, so nothing here does that by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from sending.answers import SmsResponse, decode_answers


@dataclass(frozen=True)
class Answered:
    """The provider answered about each message: queued, or refused with an SMSError.

    An array may have another length than the request's, e.g. one error about the whole call.
    """

    answers: tuple[SmsResponse, ...]
    #: The answer as it was received.
    body: bytes = field(repr=False)

    @classmethod
    def of(cls, body: bytes) -> Answered:
        """Decode an answer.

        Raises:
            UndecodableAnswer: as `decode_answers`.
        """
        return cls(tuple(decode_answers(body)), body)


@dataclass(frozen=True)
class NotSent:
    """The request certainly never left: no connection could be made."""

    reason: str


@dataclass(frozen=True)
class Rejected:
    """The server did not process the call: it does not exist there, is malformed, or there are too many."""

    status: int

    @property
    def reason(self) -> str:
        return f"the provider rejected the call with HTTP status {self.status}"


@dataclass(frozen=True)
class Unknown:
    """The request was sent, at least in part, and no usable answer came."""

    reason: str


SendOutcome: TypeAlias = Answered | NotSent | Rejected | Unknown

"""The records of an intent log, and the state that follows from them. Pure.

Before each call an intent is written, and after it a result. A row with an intent and no result is *unknown*:
the process ended in between, and the provider may have queued the message or not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from msgspec import DecodeError, Struct, json


class SendStatus(StrEnum):
    QUEUED = "queued"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    #: Certainly nothing was queued, and the message itself is not the reason.
    NOT_SENT = "not_sent"


class RunOptions(Struct, tag_field="record", tag="options", frozen=True):
    """The first record: the options that became part of the rows."""

    text: str
    from_number: str
    reference_id: str
    #: ISO 8601; empty: at once.
    at: str


class SendIntent(Struct, tag_field="record", tag="intent", frozen=True):
    """Written before a call."""

    #: Identifies what is sent.
    row: str
    #: From 1; a row has several if it was not sent, or if it is sent again on request.
    attempt: int
    reference_id: str
    #: ISO 8601, in UTC.
    at: str


class SendResult(Struct, tag_field="record", tag="result", frozen=True, omit_defaults=True):
    """Written after a call."""

    row: str
    attempt: int
    status: SendStatus
    #: Name of the SMSError, or a sentence.
    detail: str = ""
    #: What to post to the gateway, until it is acknowledged; empty without an answer.
    submission: str = ""


class SubmissionAcknowledged(Struct, tag_field="record", tag="acknowledged", frozen=True):
    """Written when the gateway has the submission."""

    row: str
    attempt: int


IntentRecord: TypeAlias = RunOptions | SendIntent | SendResult | SubmissionAcknowledged

encode_record = json.Encoder().encode
_decode = json.Decoder(IntentRecord).decode


class DamagedLog(Exception):
    """A line is not a record. The text names it."""


class AttemptKey(NamedTuple):
    row: str
    attempt: int


@dataclass
class RowState:
    """The last attempt to send a row."""

    attempt: int
    status: SendStatus
    detail: str
    reference_id: str


@dataclass
class IntentState:
    """What follows from the records of a log."""

    rows: dict[str, RowState] = field(default_factory=dict)
    options: RunOptions | None = None
    #: Submissions that the gateway has not acknowledged, oldest first.
    pending: dict[AttemptKey, str] = field(default_factory=dict)

    def apply(self, record: IntentRecord) -> None:
        """Apply the next record."""
        match record:
            case RunOptions():
                self.options = record
            case SendIntent():
                interrupted = f"interrupted at {record.at}"
                self.rows[record.row] = RowState(
                    record.attempt, SendStatus.UNKNOWN, interrupted, record.reference_id
                )
            case SendResult():
                state = self.rows[record.row]
                state.status, state.detail = record.status, record.detail
                if record.submission:
                    self.pending[AttemptKey(record.row, record.attempt)] = record.submission
            case SubmissionAcknowledged():
                self.pending.pop(AttemptKey(record.row, record.attempt), None)

    def next_attempt(self, row: str) -> int:
        """The number of the row's next attempt."""
        return self.rows[row].attempt + 1 if row in self.rows else 1


def read_intents(lines: Iterable[bytes]) -> tuple[IntentState, int]:
    """Read a log; return its state, and the length in bytes of its complete lines.

    A last line without its end was being written when the process or the system failed, and must be cut off.
    If it was an intent, the call was not made; if it was a result, the row is unknown.

    Raises:
        DamagedLog: another line is not a record.
    """
    state, length = IntentState(), 0
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            break
        try:
            state.apply(_decode(line))
        except (DecodeError, UnicodeDecodeError, KeyError):
            raise DamagedLog(f"line {number} is damaged") from None
        length += len(line)
    return state, length

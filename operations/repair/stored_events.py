"""Events as ClickHouse stores them, and the records that are published of them again. Pure."""

from __future__ import annotations

from typing import ClassVar, Protocol

from gateway.postback import decode, key_of
from gateway.submission import Submission, submission_key
from operations.replay.stored_request import ReplayedRecord, StoredRequest, record_of, record_of_submission


class ParsedDifferently(Exception):
    """This version parses the request to another event than the stored one."""


class StoredEvent(Protocol):
    """A row of a table of events; its fields are columns of the table."""

    @property
    def event_id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def key(self) -> bytes:
        """The Kafka key of the event's record."""

    def record_again(self) -> ReplayedRecord:
        """The event's record, as the gateway would publish it now.

        Raises:
            NotAPostback, ParsedDifferently: it would not be the same event of the same message.
        """


class StoredPostback(StoredRequest, frozen=True, kw_only=True):
    """A row of `postbacks`: its request, which is parsed again, and what it was parsed to."""

    event_id: str
    message_id: str
    type: str

    @property
    def key(self) -> bytes:
        return key_of(self.account, self.message_id)

    def record_again(self) -> ReplayedRecord:
        record = record_of(self)
        again = decode(record.topic, record.value)
        if (record.key, again.event_id, type(again).__struct_config__.tag) != (
            self.key,
            self.event_id,
            self.type,
        ):
            raise ParsedDifferently
        return record


class StoredSubmission(Submission, tag="submission", omit_defaults=True):
    """A row of `submissions`, whose request is not stored: its values are taken as they are."""

    type: ClassVar[str] = "submission"

    @property
    def key(self) -> bytes:
        return submission_key(self)

    def record_again(self) -> ReplayedRecord:
        return record_of_submission(self)

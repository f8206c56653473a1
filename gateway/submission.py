"""The contract of a submission: its JSON, topic, key and limits.

A submission is the provider's answer to a send, about one message: queued, or refused with an `SMSError`
(`gateway.sms_errors`). The answer does not say what was sent: numbers, text and the scheduled time come from
the request, if it was posted with the answer.
"""

from __future__ import annotations

from msgspec import Struct, json

from gateway.postback import (
    AccountName,
    EventId,
    Guid,
    ProviderTime,
    Time,
    invalid_time,
    is_provider_time,
    is_time,
    key_of,
)
from runtime.decoding import total

SUBMISSIONS = "submissions"
#: Characters of `text`, and of `reference_id` if it comes from the request; the rest is cut off.
MAX_TEXT = 2_000


class Submission(Struct, kw_only=True, tag_field="type", tag="submission", omit_defaults=True, gc=False):
    """The provider's answer to the send of one message."""

    #: 128-bit hash (hex) of the account and every field of the answer, never of the request: the same answer
    #: has the same id, with or without its request. Without a message_id, also of the answers beside it.
    event_id: EventId
    #: Lower case with dashes; null if the answer has none, as some refusals do.
    message_id: Guid | None
    account: AccountName
    #: The answer's; if it has none, the request's.
    reference_id: str
    #: Digits only. AssignedDID of the request; empty if unknown.
    from_number: str
    #: Digits only. From the request, whose numbers are answered in their order; empty if unknown.
    to_number: str
    #: Queued; if the answer does not have it, whether the error is NoError.
    queued: bool
    #: Number of SMSError: 0 is NoError, which alone means queued; null if the answer has an unlisted name.
    error: int | None
    #: Name of SMSError; empty if the answer has an unlisted number.
    error_name: str
    cancelled: bool
    #: Whether it already is with the carrier side.
    sent: bool
    #: ScheduledDateTime of the request; null if it is to be sent at once, or unknown.
    scheduled_for: ProviderTime | None
    #: The message's text, from the request: its first 2,000 characters; empty if unknown.
    text: str
    #: SentDateTime; null if unset or unreadable.
    occurred_at: ProviderTime | None
    #: When the gateway received the answer, by our clock.
    received_at: Time
    client_ip: str
    #: The query of the URL that it was posted to, as received.
    query: str
    #: The answer about this message, as received; empty if it is not UTF-8 (then `body_base64` holds it).
    body: str
    #: Fields of the answer that the parser does not know: text, or JSON if nested.
    extra: dict[str, str]
    body_base64: str = ""


_decode = total(json.Decoder(Submission).decode)


def decode_submission(value: bytes) -> Submission:
    """Decode a record's value.

    Raises:
        msgspec.DecodeError: not JSON, not UTF-8, or not a submission.
    """
    submission = _decode(value)
    if not is_time(submission.received_at):
        raise invalid_time("received_at")
    if submission.occurred_at is not None and not is_provider_time(submission.occurred_at):
        raise invalid_time("occurred_at")
    if submission.scheduled_for is not None and not is_provider_time(submission.scheduled_for):
        raise invalid_time("scheduled_for")
    return submission


def submission_key(submission: Submission) -> bytes:
    """The Kafka key: that of the message's postbacks, so that they share a partition.

    A submission without a message_id has its event_id instead: repeats share a partition, and no message has
    such a key.
    """
    return key_of(submission.account, submission.message_id or submission.event_id)

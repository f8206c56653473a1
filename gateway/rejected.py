"""The contract of a rejection: a request or Kafka record that is not a postback, with the reason. Pure.

All stages build theirs here: the gateway from a request, streams and sinks from a record.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct, json

from gateway.parsing.request import RawRequest
from gateway.postback import Time, encode_body, format_time
from runtime.decoding import total

REJECTED = "postbacks.rejected"

#: Closed sets, as they are labels of a metric. They tell as what a request was parsed, and is to be parsed
#: again: as a postback, or as answers to sends. Failures are bugs in the parser.
PostbackReason: TypeAlias = Literal["no_type", "ambiguous_type", "no_message_id", "undecodable", "failure"]
SubmissionReason: TypeAlias = Literal["no_submission", "undecodable_submission", "submission_failure"]
RequestReason: TypeAlias = PostbackReason | SubmissionReason
RecordReason: TypeAlias = Literal["undecodable_record", "empty_record", "foreign_key"]

#: Range of a record's timestamp, which its producer chose. ClickHouse would delete a row of 400 days ago at
#: once, and one of the far future never.
MAX_AGE, MAX_AHEAD = timedelta(days=365), timedelta(days=1)
#: Longer keys are truncated in a rejection, which has to fit into a record itself.
MAX_KEY_BYTES = 1024


class NotAPostback(Exception):
    """Raised by the parser: the reason for machines, and a sentence for the client."""

    def __init__(self, reason: PostbackReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason: PostbackReason = reason


class NotASubmission(Exception):
    """Raised by the parser of answers to a send: the reason for machines, and a sentence for the client."""

    def __init__(self, reason: SubmissionReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason: SubmissionReason = reason


class Rejected(Struct, kw_only=True, omit_defaults=True):
    """A request or record that is not a postback, complete enough to be replayed.

    Either a request that the gateway answered with 400, or one answer in a request to /submission (then
    `body` is the answer), or a Kafka record that a later stage could not use; then `topic`, `partition` and
    `offset` are set.
    """

    #: Random for a request, a hash of the coordinates for a record. For an answer its place: a hash of all
    #: answers in the body, a slash, and its position among them, from 0.
    rejection_id: str
    reason: str
    received_at: Time
    account: str = ""
    client_ip: str = ""
    method: str = ""
    query: str = ""
    #: Only Content-Type, Content-Encoding, User-Agent, and headers named like fields of the provider.
    headers: dict[str, str] = {}
    body: str = ""
    body_base64: str = ""
    #: The stage that rejected it: gateway, streams or sinks.
    stage: str = "gateway"
    topic: str = ""
    partition: int = -1
    offset: int = -1
    key: str = ""


class RecordCoordinates(NamedTuple):
    """Identifies a record across clusters."""

    cluster: str
    topic: str
    partition: int
    offset: int


decode_rejected = total(json.Decoder(Rejected).decode)


def reject_request(request: RawRequest, reason: RequestReason, rejection_id: str) -> Rejected:
    """The rejection of a request, or of an answer that its body was replaced by.

    Args:
        rejection_id: random; of an answer its place (`gateway.parsing.submission.RejectedAnswer`).
    """
    body, body_base64 = encode_body(request.body)
    return Rejected(
        rejection_id=rejection_id,
        reason=reason,
        received_at=request.received_at,
        account=request.account,
        client_ip=request.client_ip,
        method=request.method,
        query=request.query,
        headers=dict(request.headers),
        body=body,
        body_base64=body_base64,
    )


def reject_record(
    stage: Literal["streams", "sinks"],
    coordinates: RecordCoordinates,
    reason: str,
    key: bytes | None,
    value: bytes | None,
    timestamp_ms: int,
    now: datetime,
) -> Rejected:
    """The rejection of a record. Its id is a hash of the coordinates, so that rejecting twice is idempotent.

    Args:
        reason: a `RecordReason`, or ClickHouse's error.
        now: when it was received, if its timestamp cannot be that.
    """
    body, body_base64 = encode_body(value or b"")
    first_ms, last_ms = ((now + bound).timestamp() * 1000 for bound in (-MAX_AGE, MAX_AHEAD))
    credible = first_ms <= timestamp_ms <= last_ms
    received_at = datetime.fromtimestamp(timestamp_ms / 1000, UTC) if credible else now
    return Rejected(
        rejection_id=blake2b("\0".join(map(str, coordinates)).encode(), digest_size=16).hexdigest(),
        reason=reason,
        received_at=format_time(received_at),
        body=body,
        body_base64=body_base64,
        stage=stage,
        topic=coordinates.topic,
        partition=coordinates.partition,
        offset=coordinates.offset,
        key=(key or b"")[:MAX_KEY_BYTES].decode(errors="replace"),
    )

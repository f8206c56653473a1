"""What is kept of a request, read again as if it had just come. Pure.

Its account and the time at which it came are those of then, so that what was a postback already comes out
with the same event_id and received_at.
"""

from __future__ import annotations

from base64 import b64decode
from typing import NamedTuple

from msgspec import Struct

from gateway.parsing.postback import parse
from gateway.parsing.request import RawRequest
from gateway.postback import TOPIC_OF, Time, encode, key_of


class StoredRequest(Struct, frozen=True, kw_only=True):
    """A row of `rejected`, or of `postbacks`, as far as it tells what came."""

    received_at: Time
    account: str
    client_ip: str
    query: str
    headers: dict[str, str]
    body: str
    body_base64: str


class Record(NamedTuple):
    """What the gateway would give to Kafka."""

    topic: str
    key: bytes
    value: bytes


def request_of(kept: StoredRequest) -> RawRequest:
    """The request that it was."""
    return RawRequest(
        account=kept.account,
        query=kept.query,
        headers=list(kept.headers.items()),
        body=b64decode(kept.body_base64) if kept.body_base64 else kept.body.encode(),
        client_ip=kept.client_ip,
        received_at=kept.received_at,
    )


def record_of(kept: StoredRequest) -> Record:
    """The postback that it is.

    Raises:
        NotAPostback: it is none, still.
    """
    postback = parse(request_of(kept))
    key = key_of(postback.account, postback.message_id)
    return Record(TOPIC_OF[type(postback)], key, encode(postback))

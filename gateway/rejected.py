"""What cannot be taken for a postback: why, and what is kept of it so that it can be tried again."""

from __future__ import annotations

from typing import Literal, TypeAlias

from gateway.parsing.request import RawRequest
from gateway.postback import Rejected

#: A closed set: it is a label of a metric. `failure` is a fault of ours.
Reason: TypeAlias = Literal["no_type", "ambiguous_type", "no_message_id", "undecodable", "failure"]


class NotAPostback(Exception):
    """An arrival is no postback: the reason for machines, and a sentence for the one who sent it."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason: Reason = reason


def rejected(arrival: RawRequest, reason: Reason, rejection_id: str) -> Rejected:
    """The record of an arrival that was no postback."""
    body, body_base64 = arrival.body_as_json()
    return Rejected(
        rejection_id=rejection_id,
        reason=reason,
        received_at=arrival.received_at,
        account=arrival.account,
        client_ip=arrival.client_ip,
        method=arrival.method,
        query=arrival.query,
        headers=dict(arrival.headers),
        body=body,
        body_base64=body_base64,
    )

"""Reactions of a raw server as the provider's API and as the gateway, and what was sent to it."""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import uuid4

from msgspec import json

from tests.support.raw_server import RawServer, Reaction, respond

#: The gateway's response to a submission.
KEPT = respond(b"Kept")


def answer(error: int = 0) -> Reaction:
    """Answer with an SMSError, and a new MessageID if it is 0."""

    async def react(writer: asyncio.StreamWriter) -> None:
        message_id = "00000000-0000-0000-0000-000000000000" if error else uuid4()
        body = json.encode([{"MessageID": str(message_id), "Queued": not error, "SMSError": error}])
        await respond(body)(writer)

    return react


def recipients(server: RawServer) -> Counter[str]:
    """How often each number was sent to."""
    return Counter(
        json.decode(request.body)["SMSRequests"][0]["PhoneNumbers"][0] for request in server.requests
    )

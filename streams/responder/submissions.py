"""Posts the provider's answers to the gateway, so that the new messages are correlated.

An answer is posted for up to a minute. If this process ends before, the message has no submission; its own
postbacks and the record in `auto_responses` are not affected.
"""

from __future__ import annotations

import asyncio

import aiohttp
import structlog
from pydantic import SecretStr

from runtime.retry import retrying
from sending.sms import OutgoingSms
from sending.submissions import MAX_BACKOFF, NotAcknowledged, encode_submission, post_submission

RETRY_TIMEOUT = 60.0

log = structlog.get_logger(__name__)


class SubmissionSender:
    """Posts in the background, while `session` is open. The URL contains a token, so it is not logged."""

    def __init__(self, session: aiohttp.ClientSession, url: SecretStr) -> None:
        self._session = session
        self._url = url
        self._tasks: set[asyncio.Task[None]] = set()

    def post(self, sms: OutgoingSms, answer: bytes) -> None:
        """Start to post an answer."""
        task = asyncio.create_task(self._post_until_stored(encode_submission(sms, answer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, timeout: float) -> None:
        """Wait for the posts in flight, for so many seconds at most; then give them up."""
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=timeout)
            for task in pending:
                task.cancel()

    async def _post_until_stored(self, body: str) -> None:
        try:
            async for attempt in retrying(NotAcknowledged, MAX_BACKOFF, RETRY_TIMEOUT):
                with attempt:
                    await post_submission(self._session, self._url, body)
        except NotAcknowledged as error:
            log.error("Submission not posted", reason=str(error))

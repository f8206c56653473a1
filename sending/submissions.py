"""Posts the provider's answers to the gateway, as submissions, until each is acknowledged.

Repeating a post is safe: the same answer is the same submission. The URL contains a token, so it is not
logged or shown, and neither are the texts of errors, which quote it.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Self

import aiohttp
from msgspec import json
from pydantic import SecretStr

from sending.intent_log import IntentLog
from sending.intents import AttemptKey, SubmissionAcknowledged
from sending.sms import OutgoingSms, advanced_request

#: Posts at once.
CONCURRENCY = 32
TIMEOUT = 15.0
MIN_BACKOFF, MAX_BACKOFF = 0.1, 5.0


def encode_submission(sms: OutgoingSms, answer: bytes) -> str:
    """The body to post: the request without its secrets, and the answer as received."""
    request = advanced_request(sms)
    request.pop("StatusPostBackURL", None)
    try:
        text = answer.decode()
    except UnicodeDecodeError:
        text = answer.decode("latin-1")
    return json.encode({"request": {"SMSRequests": [request]}, "response": text}).decode()


class NotAcknowledged(Exception):
    """The gateway may not have a submission; the text says why, without the URL."""


async def post_submission(session: aiohttp.ClientSession, url: SecretStr, body: str) -> bool:
    """Post a submission once; return whether the gateway stored it as rejected.

    Raises:
        NotAcknowledged: it may be posted again.
    """
    try:
        async with session.post(
            url.get_secret_value(),
            data=body.encode(),
            headers={"Content-Type": "application/json"},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        ) as response:
            status = response.status
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NotAcknowledged(f"the gateway does not answer ({type(error).__name__})") from None
    # 400: the gateway has stored it in postbacks.rejected, from where it can be replayed.
    if status not in (200, 202, 400):
        raise NotAcknowledged(f"the gateway answers with HTTP status {status}")
    return status == 400


class SubmissionPoster:
    """Posts what is pending in the log, while used as a context."""

    def __init__(self, url: SecretStr, log: IntentLog) -> None:
        self._url = url
        self._log = log
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        #: Why the last post failed; empty if it did not.
        self.problem = ""
        #: Answers that the gateway stored as rejected.
        self.rejected = 0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._session.close()

    def notify(self) -> None:
        """There is something new in the log."""
        self._idle.clear()
        self._work.set()

    async def drain(self, timeout: float) -> bool:
        """Wait until the gateway has everything, or acknowledges nothing; return whether it has everything.

        Args:
            timeout: seconds without an acknowledgement, about.

        Raises:
            OSError: the log cannot be written.
        """
        while True:
            before = len(self._log.state.pending)
            idle = asyncio.create_task(self._idle.wait())
            await asyncio.wait((idle, self._task), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            idle.cancel()
            if self._task.done():
                self._task.result()
            if self._idle.is_set() or len(self._log.state.pending) >= before:
                return not self._log.state.pending

    async def _run(self) -> None:
        backoff = MIN_BACKOFF
        while True:
            pending = list(islice(self._log.state.pending.items(), CONCURRENCY))
            if not pending:
                self._idle.set()
                await self._work.wait()
                self._work.clear()
            elif any(await asyncio.gather(*(self._post(key, body) for key, body in pending))):
                backoff = MIN_BACKOFF
            else:
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, MAX_BACKOFF)

    async def _post(self, key: AttemptKey, body: str) -> bool:
        """Post a submission; return whether the gateway has it now."""
        try:
            rejected = await post_submission(self._session, self._url, body)
        except NotAcknowledged as error:
            self.problem = str(error)
            return False
        self.problem = ""
        self.rejected += rejected
        await self._log.append(SubmissionAcknowledged(*key))
        return True

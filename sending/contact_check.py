"""Decides whether a message may be sent: not to a recipient that has opted out, nor in doubt."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from runtime.process import wait_up_to
from sending.contacts import ContactAnswer, ContactClient, NoAnswer, Unchecked
from sending.rows import SendRow
from sending.sms import OutgoingSms

#: Seconds to retry for while the gateway does not answer, and between two attempts. After a restart it first
#: has to find out how old its data is.
RETRY_TIMEOUT, MIN_BACKOFF, MAX_BACKOFF = 60.0, 0.1, 2.0
#: Questions at once. Each takes some milliseconds, and the gateway gives up those that take much longer.
CONCURRENCY = 8


@dataclass(frozen=True)
class Skipped:
    """The recipient has opted out, or is suspected to have."""

    answer: ContactAnswer

    @property
    def reason(self) -> str:
        return "opted out" if self.answer.verdict == "opted_out" else "suspected to have opted out"


#: Why nothing is sent to a number.
Withheld: TypeAlias = Skipped | Unchecked


class ContactCheck:
    """Checks the recipients of a run."""

    def __init__(
        self,
        client: ContactClient,
        stop: asyncio.Event,
        *,
        include_suspected: bool = False,
        retry_timeout: float = RETRY_TIMEOUT,
    ) -> None:
        """
        Args:
            stop: ends retries.
            include_suspected: whether to send to suspected numbers.
            retry_timeout: seconds to retry for while the gateway does not answer.
        """
        self._client = client
        self._stop = stop
        self._skipped = {"opted_out"} if include_suspected else {"opted_out", "suspected"}
        self._retry_timeout = retry_timeout
        self._asking, self._retrying = asyncio.Semaphore(CONCURRENCY), asyncio.Lock()
        self._loop = asyncio.get_running_loop()

    async def check(self, sms: OutgoingSms) -> Withheld | None:
        """Return why a message must not be sent; None: it may be."""
        answer = await self._ask(sms)
        if isinstance(answer, Unchecked):
            return answer
        return Skipped(answer) if answer.verdict in self._skipped else None

    async def _ask(self, sms: OutgoingSms) -> ContactAnswer | Unchecked:
        try:
            async with self._asking:
                return await self._client.ask(sms)
        except NoAnswer as error:
            reason = str(error)
        # One retry at a time: all at once, they would keep a gateway that is slow from recovering.
        async with self._retrying:
            return await self._retry(sms, reason)

    async def _retry(self, sms: OutgoingSms, reason: str) -> ContactAnswer | Unchecked:
        deadline, backoff = self._loop.time() + self._retry_timeout, MIN_BACKOFF
        while self._loop.time() < deadline and not self._stop.is_set():
            await wait_up_to(backoff, self._stop)
            try:
                return await self._client.ask(sms)
            except NoAnswer as error:
                reason = str(error)
            backoff = min(2 * backoff, MAX_BACKOFF)
        return Unchecked(reason)


async def check_rows(
    check: ContactCheck, rows: Iterable[SendRow], stop: asyncio.Event
) -> dict[str, Withheld]:
    """Check rows for a dry run; return those that would not be sent, by their ids.

    Ends at the first row that cannot be checked because of the gateway: its `Unchecked` is the last one.

    Args:
        stop: that of the check; set at such a row, so that no other one is retried.
    """
    withheld: dict[str, Withheld] = {}
    remaining = iter(rows)
    failed = False

    async def work() -> None:
        nonlocal failed
        for row in remaining:
            found = await check.check(row.sms)
            if found and not failed:
                withheld[row.id] = found
                failed = isinstance(found, Unchecked) and not found.is_about_number
            if failed:
                stop.set()
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(work())
    return withheld

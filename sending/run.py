"""Sends rows, each at most once, however often the run is killed and repeated.

The intent is on disk before a call, and its result after it. A row whose result is not known is sent again
only on request. Before the intent, and before each retry, it is checked whether the recipient has opted out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from runtime.process import wait_up_to
from runtime.token_bucket import TokenBucket
from sending.client import ProviderClient
from sending.contact_check import ContactCheck, Skipped, Withheld
from sending.contacts import Unchecked
from sending.intent_log import IntentLog
from sending.intents import IntentState, SendIntent, SendResult, SendStatus
from sending.outcomes import Answered, NotSent, Rejected, SendOutcome, Unknown
from sending.rows import SendRow
from sending.submissions import SubmissionPoster, encode_submission

#: Calls in flight. Each takes as long as the provider needs.
CONCURRENCY = 32
#: Seconds to retry for while no connection can be made, and between attempts.
RETRY_TIMEOUT, MIN_BACKOFF, MAX_BACKOFF = 60.0, 0.5, 5.0
#: A run ends after so many unknown outcomes without an answer in between.
MAX_UNKNOWN = 5
#: SMSErrors about the account: LicenseKeyInvalid, AccountSuspended. The other rows would be refused, too.
ACCOUNT_ERRORS = frozenset({2, 9})


@dataclass
class SendReport:
    """What a run did."""

    #: Results of this run.
    results: list[tuple[SendRow, SendResult]] = field(default_factory=list)
    #: Rows that were not sent because of what is, or is not, known about the recipient.
    withheld: list[tuple[SendRow, Withheld]] = field(default_factory=list)
    #: Why it ended early; empty if it did not.
    ended: str = ""

    def count(self, status: SendStatus) -> int:
        return sum(result.status is status for _, result in self.results)

    @property
    def skipped(self) -> list[tuple[SendRow, Skipped]]:
        return [(row, why) for row, why in self.withheld if isinstance(why, Skipped)]

    @property
    def unchecked(self) -> list[tuple[SendRow, Unchecked]]:
        return [(row, why) for row, why in self.withheld if isinstance(why, Unchecked)]


def due_rows(
    rows: Iterable[SendRow], state: IntentState, again: Collection[SendStatus] = ()
) -> list[SendRow]:
    """The rows to send: those without an attempt, or that were not sent.

    Args:
        again: further statuses to send again, on request.
    """
    statuses = {SendStatus.NOT_SENT, *again}
    return [row for row in rows if row.id not in state.rows or state.rows[row.id].status in statuses]


class SendRun:
    """A run over rows; `stop` ends it after the calls in flight."""

    def __init__(
        self,
        client: ProviderClient,
        log: IntentLog,
        poster: SubmissionPoster,
        rate: float,
        stop: asyncio.Event,
        retry_timeout: float = RETRY_TIMEOUT,
        check: ContactCheck | None = None,
    ) -> None:
        """
        Args:
            rate: calls per second, at most.
            check: of recipients; None: send to all, also to those that have opted out.
            retry_timeout: seconds to retry for while no connection can be made.
        """
        self._client = client
        self._log = log
        self._poster = poster
        self._stop = stop
        self._retry_timeout = retry_timeout
        self._check = check
        self._loop = asyncio.get_running_loop()
        # Timers are late by milliseconds; a burst of a tenth of a second makes up for that.
        self._bucket = TokenBucket(max(1, round(rate / 10)), 1 / rate, self._loop.time())
        self._unknown = 0
        self.report = SendReport()

    async def run(self, rows: Sequence[SendRow], on_result: Callable[[], object] = lambda: None) -> None:
        """Send rows that are due, see `due_rows`.

        Raises:
            OSError: the log cannot be written. Nothing was sent without an intent on disk.
        """
        remaining = iter(rows)

        async def work() -> None:
            for row in remaining:
                await self._wait_for_token()
                if self._stop.is_set():
                    return
                await self._send(row)
                on_result()

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(CONCURRENCY, len(rows))):
                    group.create_task(work())
        except* OSError as errors:
            raise errors.exceptions[0] from None

    async def _wait_for_token(self) -> None:
        while not self._stop.is_set() and not self._bucket.acquire(self._loop.time()):
            await wait_up_to(self._bucket.retry_after(self._loop.time()), self._stop)

    async def _send(self, row: SendRow) -> None:
        if withheld := await self._find_reason_to_withhold(row):
            self._on_withheld(row, withheld)
            return
        attempt = self._log.state.next_attempt(row.id)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        await self._log.append(SendIntent(row.id, attempt, row.sms.reference_id, at))
        outcome = await self._call(row)
        if isinstance(outcome, Skipped | Unchecked):
            await self._log.append(SendResult(row.id, attempt, SendStatus.NOT_SENT, outcome.reason))
            self._on_withheld(row, outcome)
            return
        result = _result_of(row, attempt, outcome)
        await self._log.append(result)
        if result.submission:
            self._poster.notify()
        self.report.results.append((row, result))
        self._unknown = self._unknown + 1 if isinstance(outcome, Unknown) else 0
        self._end_early(outcome)

    async def _find_reason_to_withhold(self, row: SendRow) -> Withheld | None:
        return await self._check.check(row.sms) if self._check else None

    def _on_withheld(self, row: SendRow, why: Withheld) -> None:
        self.report.withheld.append((row, why))
        if isinstance(why, Unchecked) and not why.is_about_number:
            self.report.ended = self.report.ended or f"recipients cannot be checked: {why.reason}"
            self._stop.set()

    async def _call(self, row: SendRow) -> SendOutcome | Withheld:
        """Call once; again only while the request certainly did not leave."""
        deadline, backoff = self._loop.time() + self._retry_timeout, MIN_BACKOFF
        while True:
            outcome = await self._client.send([row.sms])
            if not isinstance(outcome, NotSent) or self._stop.is_set() or self._loop.time() >= deadline:
                return outcome
            await wait_up_to(backoff, self._stop)
            backoff = min(2 * backoff, MAX_BACKOFF)
            if withheld := await self._find_reason_to_withhold(row):
                return withheld

    def _end_early(self, outcome: SendOutcome) -> None:
        match outcome:
            case NotSent() | Rejected():
                reason = outcome.reason
            case Answered(answers) if answers[0].error in ACCOUNT_ERRORS:
                reason = answers[0].explanation
            case Unknown() if self._unknown >= MAX_UNKNOWN:
                reason = f"{self._unknown} unknown outcomes in a row, the last: {outcome.reason}"
            case _:
                return
        self.report.ended = self.report.ended or reason
        self._stop.set()


def _result_of(row: SendRow, attempt: int, outcome: SendOutcome) -> SendResult:
    match outcome:
        case Answered(answers, body):
            submission = encode_submission(row.sms, body)
            if len(answers) != 1:
                detail = f"{len(answers)} answers to one message"
                return SendResult(row.id, attempt, SendStatus.UNKNOWN, detail, submission)
            (answer,) = answers
            if answer.is_queued:
                return SendResult(row.id, attempt, SendStatus.QUEUED, answer.message_id or "", submission)
            status = SendStatus.NOT_SENT if answer.error in ACCOUNT_ERRORS else SendStatus.REFUSED
            return SendResult(row.id, attempt, status, answer.explanation, submission)
        case Unknown(reason):
            return SendResult(row.id, attempt, SendStatus.UNKNOWN, reason)
        case NotSent() | Rejected():
            return SendResult(row.id, attempt, SendStatus.NOT_SENT, outcome.reason)

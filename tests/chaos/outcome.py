"""The outcome of a chaos run: what was posted, and the result of the checks."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from simulator.postback import SimulatedPostback
from tests.chaos.checker import CheckResult
from tests.chaos.expected import SubmittedAnswer
from tests.chaos.faults import Fault
from tests.chaos.posted import Posted


class PostLog:
    """Records every post and its response."""

    def __init__(self) -> None:
        self.posted = Posted()
        self.responses: Counter[str] = Counter()
        self.longest_gap = 0.0
        self._began = self._last = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds until the last 2xx."""
        return self._last - self._began

    def record(self, postback: SimulatedPostback, status: int | None) -> None:
        """Record a post; `status` is None if there was no response."""
        self.posted.add_postback(postback, status)
        self._record_response(status)

    def record_answer(self, answer: SubmittedAnswer, status: int | None) -> None:
        """Record a post of a submission, likewise."""
        self.posted.add_answer(answer, status)
        self._record_response(status)

    def _record_response(self, status: int | None) -> None:
        self.responses[str(status or "none")] += 1
        if status and status < 300:
            now = time.monotonic()
            self.longest_gap = max(self.longest_gap, now - self._last)
            self._last = now


@dataclass
class Outcome:
    """The outcome of one run."""

    seed: int
    faults: list[Fault]
    posts: PostLog
    result: CheckResult
    #: Exit status of `postbacks reconcile`.
    reconciled: int
    restarts: int
    #: Exits without a fault, by process.
    unexpected_exits: Counter[str]
    #: Seconds of each group's longest stall.
    stalls: dict[str, float]

    @property
    def postbacks(self) -> int:
        return len(self.posts.posted.postbacks.attempted)

    @property
    def submissions(self) -> int:
        return len(self.posts.posted.submissions.attempted)

    @property
    def never_acknowledged(self) -> int:
        posted = self.posts.posted
        acknowledged = len(posted.postbacks.acknowledged) + len(posted.submissions.acknowledged)
        return self.postbacks + self.submissions - acknowledged

    @property
    def passed(self) -> bool:
        return self.result.passed and self.reconciled == 0 and self.never_acknowledged == 0

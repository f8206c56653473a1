"""The outcome of a chaos run: what was posted, and the result of the checks."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from simulator.postback import SimulatedPostback
from tests.chaos.checker import CheckResult, Posted
from tests.chaos.faults import Fault
from tests.chaos.readback import digest_of


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
        digest = digest_of(postback.body)
        self.posted.attempted.add(digest)
        self.responses[str(status or "none")] += 1
        if status and status < 300:
            self.posted.acknowledged.add(digest)
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
        return len(self.posts.posted.attempted)

    @property
    def never_acknowledged(self) -> int:
        return self.postbacks - len(self.posts.posted.acknowledged)

    @property
    def passed(self) -> bool:
        return self.result.passed and self.reconciled == 0 and self.never_acknowledged == 0

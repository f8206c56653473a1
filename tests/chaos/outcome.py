"""What a chaos run came to: every answer of the gateways while it ran, and its result."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from simulator.postback import SimulatedPostback
from tests.chaos.checker import CheckResult, Posted
from tests.chaos.faults import Fault
from tests.chaos.readback import digest_of


class Posting:
    """Hears every answer of the gateways."""

    def __init__(self) -> None:
        self.posted = Posted()
        self.answers: Counter[str] = Counter()
        self.longest_gap = 0.0
        self._began = self._last = time.monotonic()

    @property
    def seconds(self) -> float:
        """Until the last 2xx."""
        return self._last - self._began

    def note(self, packet: SimulatedPostback, status: int | None) -> None:
        """An answer of a gateway; None when there was none."""
        digest = digest_of(packet.body)
        self.posted.attempted.add(digest)
        self.answers[str(status or "none")] += 1
        if status and status < 300:
            self.posted.acknowledged.add(digest)
            now = time.monotonic()
            self.longest_gap = max(self.longest_gap, now - self._last)
            self._last = now


@dataclass
class Outcome:
    """What a run came to."""

    seed: int
    faults: list[Fault]
    posting: Posting
    verdict: CheckResult
    reconciled: int
    restarts: int
    #: Processes that ended without a fault, and how often.
    ended_themselves: Counter[str]
    #: Longest seconds of each group with lag and without a commit, while Kafka answered.
    without_progress: dict[str, float]

    @property
    def postbacks(self) -> int:
        return len(self.posting.posted.attempted)

    @property
    def never_acknowledged(self) -> int:
        return self.postbacks - len(self.posting.posted.acknowledged)

    @property
    def good(self) -> bool:
        return self.verdict.good and self.reconciled == 0 and self.never_acknowledged == 0

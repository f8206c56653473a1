"""What was acknowledged, folded into what the pipeline should say of it.

This is a fold of its own, as plain as can be: it knows the rules of a message's status and nothing of how
the pipeline comes to it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b

from simulator.postback import SimulatedPostback
from simulator.report import Report

FINAL_FAILURES = {
    *("005", "008", "015", "017", "021", "023", "024"),
    *("028", "029", "030", "032", "090", "091", "999"),
}
NO_ANSWER = "none"
TYPE_OF = {
    "sent": "sent",
    "refused": "sent",
    "receipt": "receipt",
    "reply": "response",
    "inbound": "response",
}


@dataclass(slots=True)
class _Message:
    refusals: int = 0
    sent: bool = False
    inbound: bool = False
    codes: set[str] = field(default_factory=set)

    @property
    def status(self) -> str:
        """The best-founded first."""
        if "000" in self.codes:
            return "delivered"
        if self.codes & FINAL_FAILURES:
            return "failed"
        if self.codes & {"003", "004"}:
            return "in_transit"
        if self.sent:
            return "sent"
        if self.refusals:
            return "cancelled" if self.refusals >= 3 else "retrying"
        return "received" if self.inbound else "unknown"


class Ledger:
    """Every post is entered with its answer; the same postback counts once."""

    def __init__(self) -> None:
        self.posts = 0
        self.answers: Counter[str] = Counter()
        self.acknowledged: Counter[str] = Counter()
        self._types: Counter[str] = Counter()
        self._kept: set[bytes] = set()
        self._unsure: set[bytes] = set()
        self._messages: dict[str, _Message] = {}

    def enter(self, packet: SimulatedPostback, status: int | None) -> None:
        """A post, and the code of its answer (None: the connection broke, or nothing came in time)."""
        self.posts += 1
        answer = NO_ANSWER if status is None else str(status)
        self.answers[answer] += 1
        key = blake2b(packet.body, digest_size=16).digest()
        if key in self._kept:
            return
        if answer.startswith("2"):
            self._kept.add(key)
            self._unsure.discard(key)
            self.acknowledged[answer] += 1
            self._fold(packet)
        elif not answer.startswith("4"):
            self._unsure.add(key)

    def report(self, seconds: float) -> Report:
        """What is known after so many seconds."""
        return Report(
            seconds=seconds,
            posts=self.posts,
            answers=dict(sorted(self.answers.items())),
            acknowledged=dict(sorted(self.acknowledged.items())),
            events=len(self._kept),
            types=dict(sorted(self._types.items())),
            messages=len(self._messages),
            statuses=dict(sorted(Counter(message.status for message in self._messages.values()).items())),
            unsure=len(self._unsure),
        )

    def _fold(self, packet: SimulatedPostback) -> None:
        message = self._messages.setdefault(packet.message_id, _Message())
        self._types[TYPE_OF[packet.kind]] += 1
        match packet.kind:
            case "sent":
                message.sent = True
            case "refused":
                message.refusals += 1
            case "receipt":
                message.codes.add(packet.code)
            case "inbound":
                message.inbound = True

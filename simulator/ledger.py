"""Folds acknowledged postbacks into the messages that the pipeline must produce.

An independent fold, as simple as possible: it implements the rules of a message's status, and shares no code
with the pipeline.
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
NO_RESPONSE = "none"
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
        """The status with the highest precedence."""
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
    """Records each post with its response; duplicates of a postback count once."""

    def __init__(self) -> None:
        self.posts = 0
        self.answers: Counter[str] = Counter()
        self.acknowledged: Counter[str] = Counter()
        self._types: Counter[str] = Counter()
        self._acknowledged_keys: set[bytes] = set()
        self._unsure_keys: set[bytes] = set()
        self._messages: dict[str, _Message] = {}

    def record(self, postback: SimulatedPostback, status: int | None) -> None:
        """Record a post and the status of its response (None: connection broken, or timeout)."""
        self.posts += 1
        response = NO_RESPONSE if status is None else str(status)
        self.answers[response] += 1
        key = blake2b(postback.body, digest_size=16).digest()
        if key in self._acknowledged_keys:
            return
        if response.startswith("2"):
            self._acknowledged_keys.add(key)
            self._unsure_keys.discard(key)
            self.acknowledged[response] += 1
            self._fold(postback)
        elif not response.startswith("4"):
            self._unsure_keys.add(key)

    def report(self, seconds: float) -> Report:
        """Summarize a run of so many seconds."""
        return Report(
            seconds=seconds,
            posts=self.posts,
            answers=dict(sorted(self.answers.items())),
            acknowledged=dict(sorted(self.acknowledged.items())),
            events=len(self._acknowledged_keys),
            types=dict(sorted(self._types.items())),
            messages=len(self._messages),
            statuses=dict(sorted(Counter(message.status for message in self._messages.values()).items())),
            unsure=len(self._unsure_keys),
        )

    def _fold(self, postback: SimulatedPostback) -> None:
        message = self._messages.setdefault(postback.message_id, _Message())
        self._types[TYPE_OF[postback.kind]] += 1
        match postback.kind:
            case "sent":
                message.sent = True
            case "refused":
                message.refusals += 1
            case "receipt":
                message.codes.add(postback.code)
            case "inbound":
                message.inbound = True

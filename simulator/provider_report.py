"""The report of a run as a server, as a table or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from simulator.report import Report, as_lines, indented
from simulator.send_ledger import SentTwice


@dataclass(frozen=True)
class ProviderReport:
    """Counts of one run."""

    seed: int
    seconds: float
    calls: int
    #: Calls that were not processed, by HTTP status.
    rejected: Mapping[str, int]
    #: Requests that were accepted, and the distinct messages among them.
    accepted: int
    messages: int
    #: Messages that were accepted more than once, and some of them.
    sent_twice: int
    examples: Sequence[SentTwice]
    #: Requests that were refused, by name of SMSError.
    refused: Mapping[str, int]
    #: Calls without an answer, by when the connection was closed: `before` or `after` they were accepted.
    dropped: Mapping[str, int]
    #: Postbacks that were not posted: about messages that are scheduled for later.
    pending: int
    #: Of the postbacks about accepted messages.
    postbacks: Report

    def as_json(self) -> str:
        """Return a JSON object with the names of the fields."""
        examples = [example._asdict() for example in self.examples]
        fields = asdict(self) | {"examples": examples, "postbacks": self.postbacks.as_dict()}
        return json.dumps(fields | {"seconds": round(self.seconds, 3)})

    def as_table(self) -> str:
        """Return lines of a name and a number."""
        rows = [("calls", self.calls), *indented("status ", self.rejected)]
        rows += [*indented("dropped ", self.dropped)]
        rows += [("requests accepted", self.accepted), ("messages accepted", self.messages)]
        rows += [("messages sent twice", self.sent_twice)]
        rows += [("requests refused", sum(self.refused.values())), *indented("", self.refused)]
        rows += [("pending postbacks", self.pending)]
        return f"{as_lines(rows)}\n{self.postbacks.as_table()}"

"""What each side knows about the sends of a run: the client's log, the provider's ledger, ClickHouse."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sending.intents import RowState, SendStatus
from tests.chaos.send_plan import PlannedSend
from tests.support.sinks import rows

#: A row per submission, with what became of it by SQL alone.
FATES = """
SELECT reference_id, to_number, toString(answers.message_id) AS message_id, error,
    multiIf(error != 0, 'refused', reported, 'matched', unsent_at IS NOT NULL, 'unsent', 'open') AS fate
FROM
(
    SELECT event_id, any(reference_id) AS reference_id, any(to_number) AS to_number,
        any(message_id) AS message_id, any(toInt32(ifNull(error, -1))) AS error
    FROM submissions GROUP BY event_id
) AS answers
LEFT JOIN
(
    SELECT message_id, unsent_at, notEmpty(attempts) OR notEmpty(receipts) OR notEmpty(replies) AS reported
    FROM messages
) AS message ON answers.message_id = message.message_id
"""
REPORTED = """
SELECT DISTINCT reference_id FROM messages
WHERE notEmpty(attempts) OR notEmpty(receipts) OR notEmpty(replies)
"""


class LedgerAnswer(NamedTuple):
    """A row of the provider's ledger."""

    reference_id: str
    to_number: str
    message_id: str | None
    error: int
    dropped: int


class StoredSubmission(NamedTuple):
    """A submission in ClickHouse."""

    reference_id: str
    to_number: str
    message_id: str | None
    error: int
    fate: str


@dataclass
class SendSides:
    """What each side knows about the sends of a run."""

    answers: Sequence[LedgerAnswer]
    #: By ReferenceID.
    log: Mapping[str, RowState]
    stored: Sequence[StoredSubmission]
    #: ReferenceIDs of messages that something was posted about.
    reported: frozenset[str]
    _by_reference: defaultdict[str, list[LedgerAnswer]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._by_reference = defaultdict(list)
        for answer in self.answers:
            self._by_reference[answer.reference_id].append(answer)

    def answers_to(self, send: PlannedSend) -> list[LedgerAnswer]:
        return self._by_reference[send.reference_id]

    def unknown(self) -> set[str]:
        """The ReferenceIDs whose outcome the client does not know."""
        return {reference for reference, row in self.log.items() if row.status is SendStatus.UNKNOWN}

    def interrupted(self) -> set[str]:
        """Those of them whose call was cut off by a kill of the client."""
        return {name for name in self.unknown() if self.log[name].detail.startswith("interrupted")}


def read_ledger(path: Path) -> list[LedgerAnswer]:
    with closing(sqlite3.connect(path)) as database:
        answers = database.execute(f"SELECT {', '.join(LedgerAnswer._fields)} FROM answers")
        return [LedgerAnswer(*answer) for answer in answers]


def read_fates(clickhouse: str) -> list[StoredSubmission]:
    return [StoredSubmission(**row) for row in rows(clickhouse, FATES)]


def read_reported(clickhouse: str) -> frozenset[str]:
    return frozenset(row["reference_id"] for row in rows(clickhouse, REPORTED))


def count_fates(stored: Sequence[StoredSubmission]) -> Counter[str]:
    return Counter(submission.fate for submission in stored)

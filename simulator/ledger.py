"""Folds acknowledged postbacks into the messages that the pipeline must produce.

An independent fold, as simple as possible: it implements the rules of a message's status, and shares no code
with the pipeline. It is kept on disk, as a run may be long.
"""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b

from simulator.database import open_database
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


#: What is known of a distinct postback, later ones prevail.
REFUSED, UNSURE, ACKNOWLEDGED = 0, 1, 2
SCHEMA = """
CREATE TABLE postbacks (key BLOB PRIMARY KEY, outcome INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE messages (
    id TEXT PRIMARY KEY,
    sent INTEGER DEFAULT 0,
    refusals INTEGER DEFAULT 0,
    inbound INTEGER DEFAULT 0,
    delivered INTEGER DEFAULT 0,
    failed INTEGER DEFAULT 0,
    on_its_way INTEGER DEFAULT 0
) WITHOUT ROWID;
"""
#: The status with the highest precedence.
STATUSES = """
SELECT CASE
    WHEN delivered THEN 'delivered'
    WHEN failed THEN 'failed'
    WHEN on_its_way THEN 'in_transit'
    WHEN sent THEN 'sent'
    WHEN refusals >= 3 THEN 'cancelled'
    WHEN refusals THEN 'retrying'
    WHEN inbound THEN 'received'
    ELSE 'unknown' END AS status, count(*)
FROM messages GROUP BY status ORDER BY status
"""


class Ledger:
    """Records each post with its response; duplicates of a postback count once. Close it at the end."""

    def __init__(self) -> None:
        self.posts = 0
        self.answers: Counter[str] = Counter()
        self.acknowledged: Counter[str] = Counter()
        self._types: Counter[str] = Counter()
        self._database = open_database(SCHEMA)

    def close(self) -> None:
        """Delete what was recorded."""
        self._database.close()

    def record(self, postback: SimulatedPostback, status: int | None) -> None:
        """Record a post and the status of its response (None: connection broken, or timeout)."""
        self.posts += 1
        response = NO_RESPONSE if status is None else str(status)
        self.answers[response] += 1
        outcome = {"2": ACKNOWLEDGED, "4": REFUSED}.get(response[0], UNSURE)
        key = blake2b(postback.body, digest_size=16).digest()
        known = self._database.execute("SELECT outcome FROM postbacks WHERE key = ?", (key,)).fetchone()
        if known and known[0] >= outcome:
            return
        self._database.execute("INSERT OR REPLACE INTO postbacks VALUES (?, ?)", (key, outcome))
        if outcome == ACKNOWLEDGED:
            self.acknowledged[response] += 1
            self._fold(postback)

    def report(self, seconds: float) -> Report:
        """Summarize a run of so many seconds."""
        outcomes = dict(self._database.execute("SELECT outcome, count(*) FROM postbacks GROUP BY outcome"))
        statuses = dict(self._database.execute(STATUSES))
        return Report(
            seconds=seconds,
            posts=self.posts,
            answers=dict(sorted(self.answers.items())),
            acknowledged=dict(sorted(self.acknowledged.items())),
            events=outcomes.get(ACKNOWLEDGED, 0),
            types=dict(sorted(self._types.items())),
            messages=sum(statuses.values()),
            statuses=statuses,
            unsure=outcomes.get(UNSURE, 0),
            refused=outcomes.get(REFUSED, 0),
        )

    def _fold(self, postback: SimulatedPostback) -> None:
        self._types[TYPE_OF[postback.kind]] += 1
        column = _column_of(postback)
        if column:
            statement = (
                f"INSERT INTO messages (id, {column}) VALUES (?, 1) "
                f"ON CONFLICT DO UPDATE SET {column} = {column} + 1"
            )
        else:
            statement = "INSERT OR IGNORE INTO messages (id) VALUES (?)"
        self._database.execute(statement, (postback.message_id,))


def _column_of(postback: SimulatedPostback) -> str | None:
    """The column that counts such postbacks about a message; None if they leave its status unchanged."""
    match postback.kind:
        case "sent":
            return "sent"
        case "refused":
            return "refusals"
        case "inbound":
            return "inbound"
        case "reply":
            return None
    if postback.code == "000":
        return "delivered"
    if postback.code in FINAL_FAILURES:
        return "failed"
    return "on_its_way" if postback.code in ("003", "004") else None

"""What became of each send: the answers, and how often each message was accepted. On disk, so of any length.

With a path, the ledger is a SQLite database with the table `answers` and the view `accepted`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from gateway.sms_errors import read_sms_error
from simulator.calls import SendRequest
from simulator.database import open_database

#: Messages that were sent twice and are listed; more are counted.
LISTED = 20
#: A message is what the customer wants to send once: the same text to the same number for the same reference.
SCHEMA = """
CREATE TABLE answers (
    message_id TEXT,  -- NULL: refused
    error INTEGER NOT NULL,  -- SMSError
    dropped INTEGER NOT NULL,  -- 1: the connection was closed without this answer
    from_number TEXT NOT NULL,
    to_number TEXT NOT NULL,
    reference_id TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX accepted_messages ON answers (reference_id, to_number, from_number, text)
    WHERE message_id IS NOT NULL;
CREATE VIEW accepted AS
    SELECT reference_id, to_number, from_number, text, count(*) AS times
    FROM answers WHERE message_id IS NOT NULL
    GROUP BY reference_id, to_number, from_number, text;
"""


class SentTwice(NamedTuple):
    """A message that was accepted several times."""

    reference_id: str
    to_number: str
    times: int


class SendLedger:
    """Records each answer. Close it at the end, which deletes it unless it has a path.

    Raises:
        OSError: the file exists, or cannot be created.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._database = open_database(SCHEMA, path)
        #: Acceptances, of which repeated ones are of messages that were accepted before.
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def close(self) -> None:
        self._database.close()

    def record(self, request: SendRequest, message_id: str | None, error: int, *, dropped: bool) -> None:
        """Record the answer to a request, also if the connection is closed without it."""
        if message_id is not None:
            self.accepted += 1
        else:
            listed = read_sms_error(str(error))
            self.refused[(listed and listed[1]) or f"SMSError {error}"] += 1
        self._database.execute(
            "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                message_id,
                error,
                dropped,
                request.from_number,
                request.to_number,
                request.reference_id,
                request.text,
            ),
        )

    def messages(self) -> int:
        """The number of distinct messages that were accepted."""
        (count,) = self._database.execute("SELECT count(*) FROM accepted").fetchone()
        return int(count)

    def sent_twice(self) -> tuple[int, list[SentTwice]]:
        """The number of messages that were accepted more than once, and the first of them."""
        query = "FROM accepted WHERE times > 1"
        (count,) = self._database.execute(f"SELECT count(*) {query}").fetchone()
        listed = self._database.execute(f"SELECT reference_id, to_number, times {query} LIMIT {LISTED}")
        return int(count), [SentTwice(*row) for row in listed]

"""The messages of a sends scenario, and what the simulated provider does about each. Pure."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from random import Random

from sending.run import ACCOUNT_ERRORS
from simulator.behaviour import REFUSALS


class Treatment(StrEnum):
    """What the simulated provider does: a word of the ReferenceID, see `simulator.behaviour`."""

    #: Anything, see `simulator.scenario`.
    REPORTED = ""
    REFUSED = "error"
    SILENT = "silent"
    DROPPED_BEFORE = "drop-before"
    DROPPED_AFTER = "drop-after"
    DELAYED = "delay-0.5"


#: How many of 1,000 messages are treated otherwise. Few are dropped, as five unknown in a row end a run; the
#: delayed ones are in flight when the client is killed.
SHARES = {
    Treatment.REFUSED: 40,
    Treatment.SILENT: 20,
    Treatment.DROPPED_BEFORE: 8,
    Treatment.DROPPED_AFTER: 8,
    Treatment.DELAYED: 50,
}
#: Errors about the account end a run.
ERRORS = tuple(error for error in REFUSALS if error not in ACCOUNT_ERRORS)
SENDERS = ("74121", "17575449510")
TEXTS = ("Your table is ready", "Für heute, 5 € frei", 'A "quoted" line,\nand another', "🙂" * 80, "x" * 300)
SCHEDULED_SHARE = 0.02
#: Seconds, at most, for which a message is scheduled ahead.
MAX_AHEAD = 10


@dataclass(frozen=True)
class PlannedSend:
    """A message; its ReferenceID is unique, and so is its recipient, as some reply STOP."""

    reference_id: str
    treatment: Treatment
    #: SMSError.
    error: int
    to_number: str
    from_number: str
    text: str
    scheduled_for: datetime | None

    @property
    def is_dropped(self) -> bool:
        return self.treatment in (Treatment.DROPPED_BEFORE, Treatment.DROPPED_AFTER)


def plan_sends(seed: int, count: int, rate: float, started: datetime) -> list[PlannedSend]:
    """Plan messages that are sent at a rate from a time on."""
    rng = Random(seed)
    reported = 1_000 - sum(SHARES.values())
    treatments = rng.choices([Treatment.REPORTED, *SHARES], [reported, *SHARES.values()], k=count)
    return [
        _plan_send(rng, number, treatment, started + timedelta(seconds=number / rate))
        for number, treatment in enumerate(treatments)
    ]


def _plan_send(rng: Random, number: int, treatment: Treatment, at: datetime) -> PlannedSend:
    error = rng.choice(ERRORS) if treatment is Treatment.REFUSED else 0
    rule = f"error-{error}" if error else treatment.value
    ahead = timedelta(seconds=rng.randint(1, MAX_AHEAD))
    return PlannedSend(
        f"m{number}-{rule}" if rule else f"m{number}",
        treatment,
        error,
        f"1757{number:07d}",
        rng.choice(SENDERS),
        rng.choice(TEXTS),
        (at + ahead).replace(microsecond=0) if rng.random() < SCHEDULED_SHARE else None,
    )


def write_sends(file: Path, sends: Iterable[PlannedSend]) -> None:
    """Write the file for `postbacks send --csv`."""
    with file.open("w", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(("to", "from", "reference", "text", "at"))
        for send in sends:
            at = send.scheduled_for.isoformat() if send.scheduled_for else ""
            rows.writerow((send.to_number, send.from_number, send.reference_id, send.text, at))


def count_treatments(sends: Sequence[PlannedSend]) -> dict[Treatment, int]:
    return {treatment: sum(send.treatment is treatment for send in sends) for treatment in Treatment}

"""Reads a CSV file of opt-outs and opt-ins, as events of contacts. Pure.

It has a header with the columns `number`, `own_number`, `at`, `words`, `signal` and `account`, of which only
`number` is required. Either all rows are valid, or none becomes an event.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from gateway.postback import ACCOUNT_NAME, FIRST_PROVIDER_YEAR, Time, format_time
from operations.replay.stored_request import ReplayedRecord
from runtime.phone_number import read_written
from streams.contact_event import (
    CONTACT_EVENTS,
    OPT_OUTS,
    SEVERITY,
    ContactEvent,
    Signal,
    contact_event_key,
    contact_event_of_import,
    encode_contact_event,
)

COLUMNS = ("number", "own_number", "at", "words", "signal", "account")
SIGNALS = tuple(reversed(SEVERITY))


class InvalidImport(Exception):
    """Nothing can be imported; each problem names the line, the value and what is allowed."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class ImportSource:
    """What applies to all rows."""

    #: What the operator calls the list.
    name: str
    #: Of rows that do not name one.
    account: str
    #: When the import began; becomes `received_at`.
    now: datetime


def record_of_event(event: ContactEvent) -> ReplayedRecord:
    """The event's record."""
    return ReplayedRecord(CONTACT_EVENTS, contact_event_key(event), encode_contact_event(event))


def read_import(lines: Iterable[str], source: ImportSource) -> list[ContactEvent]:
    """Read all rows of a CSV file, in order; the same event twice is one.

    Raises:
        InvalidImport: with all problems.
    """
    reader = csv.DictReader(lines, strict=True)
    try:
        columns = [name.strip().lower() for name in reader.fieldnames or ()]
        _check_columns(columns)
        reader.fieldnames = columns
        return _read_rows(reader, source)
    except UnicodeDecodeError:
        raise InvalidImport([f"line {reader.line_num + 1}: the file is not in UTF-8"]) from None
    except csv.Error as error:
        raise InvalidImport([f"line {reader.line_num + 1}: not valid CSV: {error}"]) from None


def _check_columns(columns: list[str]) -> None:
    allowed = f"allowed are {', '.join(COLUMNS)}"
    problems = [f"line 1: there is no column {name!r}; {allowed}" for name in columns if name not in COLUMNS]
    problems += [f"line 1: the column {name!r} is repeated" for name in COLUMNS if columns.count(name) > 1]
    if "number" not in columns:
        problems.append("line 1: the column 'number' is missing")
    if problems:
        raise InvalidImport(problems)


def _read_rows(reader: csv.DictReader[str], source: ImportSource) -> list[ContactEvent]:
    events: dict[str, ContactEvent] = {}
    problems: list[str] = []
    for fields in reader:
        try:
            event = _read_row(fields, source)
            events.setdefault(event.event_id, event)
        except ValueError as error:
            problems += [f"line {reader.line_num}: {problem}" for problem in error.args]
    if problems:
        raise InvalidImport(problems)
    return list(events.values())


def _read_row(fields: dict[str, str], source: ImportSource) -> ContactEvent:
    """The event of a row.

    Raises:
        ValueError: with all problems of the row.
    """
    if None in fields:  # csv's key of what is beyond the header
        raise ValueError("there are more values than columns")
    value = {name: (text or "").strip() for name, text in fields.items()}
    problems: list[str] = []
    number, own_number = (
        _read_number(name, value.get(name, ""), problems) for name in ("number", "own_number")
    )
    at = _read_time(value.get("at", ""), source.now, problems)
    signal = value.get("signal", "").lower() or "opted_out"
    if signal not in SIGNALS:
        problems.append(f"signal={signal!r}: must be one of {', '.join(SIGNALS)}")
    elif signal not in OPT_OUTS and not value.get("at"):
        problems.append(f"at='': {signal} needs a time, as it counts for earlier opt-outs only")
    account = value.get("account") or source.account
    if not ACCOUNT_NAME.fullmatch(account):
        problems.append(f"account={account!r}: must be up to 64 of a-z, 0-9, _ and -")
    words = value.get("words", "")
    if any("\ud800" <= character <= "\udfff" for character in words):
        problems.append(f"words={words!r}: must be valid Unicode, without lone surrogates")
    if problems:
        raise ValueError(*problems)
    return contact_event_of_import(
        account=account,
        number=number,
        own_number=own_number,
        signal=cast(Signal, signal),
        words=words,
        source_name=source.name,
        occurred_at=at,
        received_at=format_time(source.now),
    )


def _read_number(name: str, text: str, problems: list[str]) -> str:
    number = read_written(text)
    if number is None and (text or name == "number"):
        allowed = "a phone number of 5 to 15 digits, such as 17575449510, without 00 or 011"
        problems.append(f"{name}={text!r}: must be {allowed}")
    return number or ""


def _read_time(text: str, now: datetime, problems: list[str]) -> Time | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        problems.append(f"at={text!r}: must be a time such as 2026-11-28T12:00, in UTC or with a zone")
        return None
    if at > now:  # it would outweigh what the number says until then
        problems.append(f"at={text!r}: must not be in the future")
    if at.year < int(FIRST_PROVIDER_YEAR):
        problems.append(f"at={text!r}: must be in {FIRST_PROVIDER_YEAR} or later")
    return format_time(at)

"""The rows of a run: messages, each with an identity that is the same after a restart. Pure.

A CSV file has a header with the columns `to`, `text`, `from`, `reference` and `at`. Only `to` is required,
and `text` unless one text is given for all rows. A row is identified by its content, so rows may be added,
removed and moved between two runs; a changed row is another message.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b

from msgspec import json

from sending.sms import OutgoingSms

COLUMNS = ("to", "text", "from", "reference", "at")


class InvalidRows(Exception):
    """Nothing can be sent; each problem names the line, the value and what is allowed."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class SendRow:
    #: The last line of the row in the CSV file, from 1; 0 without a file.
    line: int
    #: See `RowState`.
    id: str
    sms: OutgoingSms


@dataclass(frozen=True)
class RowDefaults:
    """What applies to all rows; a column's value is preferred."""

    text: str = ""
    from_number: str = ""
    reference_id: str = ""
    scheduled_for: datetime | None = None
    status_postback_url: str = ""


def new_row(row_id: str, sms: OutgoingSms, line: int = 0) -> SendRow:
    """A row; without a ReferenceID it gets one of its own, by which an unknown send can be looked up."""
    return SendRow(line, row_id, sms if sms.reference_id else replace(sms, reference_id=f"send-{row_id}"))


def read_csv(lines: Iterable[str], defaults: RowDefaults) -> list[SendRow]:
    """Read all rows of a CSV file, in order.

    Raises:
        InvalidRows: with all problems.
    """
    reader = csv.DictReader(lines, strict=True)
    try:
        columns = [name.strip().lower() for name in reader.fieldnames or ()]
        _check_columns(columns, defaults)
        reader.fieldnames = columns
        return _check_rows(reader, defaults)
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidRows([f"line {reader.line_num + 1}: {_explain(error)}"]) from None


def _check_columns(columns: list[str], defaults: RowDefaults) -> None:
    allowed = f"allowed are {', '.join(COLUMNS)}"
    problems = [f"line 1: there is no column {name!r}; {allowed}" for name in columns if name not in COLUMNS]
    problems += [f"line 1: the column {name!r} is repeated" for name in COLUMNS if columns.count(name) > 1]
    required = ("to",) if defaults.text else ("to", "text")
    problems += [f"line 1: the column {name!r} is missing" for name in required if name not in columns]
    if problems:
        raise InvalidRows(problems)


def _check_rows(reader: csv.DictReader[str], defaults: RowDefaults) -> list[SendRow]:
    rows: list[SendRow] = []
    problems: list[str] = []
    lines: dict[str, int] = {}
    for fields in reader:
        try:
            row = _read_row(reader.line_num, fields, defaults)
            first = lines.setdefault(row.id, row.line)
            if first != row.line:
                raise ValueError(f"the same message as line {first}; to send both, give them references")
            rows.append(row)
        except ValueError as error:
            problems.append(f"line {reader.line_num}: {error}")
    if problems:
        raise InvalidRows(problems)
    return rows


def _read_row(line: int, fields: dict[str, str], defaults: RowDefaults) -> SendRow:
    if None in fields:  # csv's key of what is beyond the header
        raise ValueError("there are more values than columns")
    value = {name: (text or "").strip() for name, text in fields.items()}
    sms = OutgoingSms(
        to_number=value["to"],
        text=fields.get("text") or defaults.text,
        from_number=value.get("from") or defaults.from_number,
        reference_id=value.get("reference") or defaults.reference_id,
        scheduled_for=read_schedule(value.get("at", "")) or defaults.scheduled_for,
        status_postback_url=defaults.status_postback_url,
    )
    return new_row(_identify(sms), sms, line)


def read_schedule(text: str) -> datetime | None:
    """Read the time at which a message is to be sent; None if empty.

    Raises:
        ValueError: it is not a time; says what is allowed.
    """
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"at={text!r}: must be a time such as 2026-11-28T12:00, in UTC or with a zone"
        ) from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _identify(sms: OutgoingSms) -> str:
    scheduled = sms.scheduled_for.astimezone(UTC).isoformat() if sms.scheduled_for else ""
    content = (sms.to_number, sms.from_number, sms.text, sms.reference_id, scheduled)
    return blake2b(json.encode(content), digest_size=10, person=b"send").hexdigest()


def _explain(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "the file is not in UTF-8"
    return f"not valid CSV: {error}"

"""The check of automatic responses finds what is planted; without engines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.chaos.respond_check import RespondResult, check_responses
from tests.chaos.respond_expected import Written, expect_answers
from tests.chaos.respond_sides import LedgerRow, Recorded, Sides, Statement, reference_of
from tests.support.auto_responses import auto_response
from tests.support.postbacks import at

NIGHT, DAY = (datetime(2026, 11, 23, hour, tzinfo=UTC) for hour in (7, 18))
EPOCH = datetime.fromisoformat(at(0)).timestamp()


def written(
    event_id: str, text: str, second: float = 0, handset: str = "7575550101", **others: Any
) -> Written:
    return Written(event_id, handset, "74121", text, True, EPOCH + second, at(second))._replace(**others)


def recorded(event_id: str, second: float, outcome: Any = "intent", **others: Any) -> Recorded:
    number = others.pop("number", "7575550101")
    fields = {"number": number, "attempt": f"x{event_id}", "rule": "hours", "text": "Open"} | others
    record = auto_response(event_id, second, outcome, **fields)
    return Recorded(0, int((EPOCH + second) * 1000), record)


def in_ledger(each: Recorded, *, dropped: int = 0) -> LedgerRow:
    record = each.record
    number = f"1{record.number}"
    return LedgerRow(reference_of(record), number, record.text, record.message_id or "m", 0, dropped)


ACCEPTED = {"outcome": "accepted", "message_id": "9a35e913-ded0-7574-4642-5f60c550c706"}
FIRST, SENT = recorded("a", 1), recorded("a", 2, **ACCEPTED)
UNSURE = [recorded("b", 1, number="7575550102"), recorded("b", 2, "unknown", number="7575550102")]


def clean_run() -> Sides:
    """An accepted answer, an unknown one, and an opt-out."""
    declined = recorded("c", 1, "declined", number="7575550103", attempt="", rule="", reason="opt_out")
    return Sides(
        [
            written("a", "HOURS"),
            written("b", "HOURS", handset="7575550102"),
            written("c", "STOP", handset="7575550103"),
        ],
        frozenset(),
        {"7575550103": [Statement(FIRST.appended, at(0), "c", "opted_out")]},
        {"a": [FIRST, SENT], "b": UNSURE, "c": [declined]},
        [in_ledger(SENT), in_ledger(UNSURE[1], dropped=1)],
        {"a": "accepted", "b": "unknown", "c": "declined"},
        [reference_of(UNSURE[1].record)],
    )


def check(sides: Sides) -> RespondResult:
    return check_responses(sides, expect_answers(sides.responses, margin=10), partitions=8)


def test_run_without_a_violation_has_no_findings() -> None:
    result = check(clean_run())
    assert (result.findings, result.sent_twice) == ([], 0)
    assert result.wanted == Counter(accepted=1, unknown=1)
    assert result.unknown == {"accepted, dropped": 1}


def with_statement(sides: Sides, appended: int, *later: Statement) -> Sides:
    opt_out = Statement(appended, at(-5), "e", "opted_out")
    return replace(sides, statements={**sides.statements, "7575550101": [opt_out, *later]})


def with_records(sides: Sides, event_id: str, *records: Recorded) -> Sides:
    return replace(sides, records={**sides.records, event_id: records})


def answered_stop(sides: Sides) -> Sides:
    sent = recorded("c", 2, number="7575550103", **ACCEPTED)
    sides = with_records(sides, "c", recorded("c", 0.5, number="7575550103"), sent)
    return replace(sides, ledger=[*sides.ledger, in_ledger(sent)], stored={**sides.stored, "c": "accepted"})


def answered_again(sides: Sides) -> Sides:
    sent = recorded("d", 40, **ACCEPTED)
    sides = with_records(sides, "d", recorded("d", 39), sent)
    return replace(
        sides,
        responses=[*sides.responses, written("d", "hours", 38)],
        ledger=[*sides.ledger, in_ledger(sent)],
        stored={**sides.stored, "d": "accepted"},
    )


VIOLATIONS: dict[str, tuple[Callable[[Sides], Sides], str]] = {
    "sent twice": (lambda s: replace(s, ledger=[*s.ledger, in_ledger(SENT)]), "a: the provider got 2 calls"),
    "two attempts": (
        lambda s: replace(
            with_records(s, "a", FIRST, recorded("a", 1.5, attempt="y"), SENT),
            ledger=[*s.ledger, in_ledger(recorded("a", 3, attempt="y", **ACCEPTED))],
        ),
        "a: the provider got 2 calls",
    ),
    "second attempt": (
        lambda s: with_records(s, "a", recorded("a", 0.5, attempt="y"), FIRST, SENT),
        "another attempt than that of the first record",
    ),
    "unheard of": (
        lambda s: with_records(s, "a", recorded("a", 1, "declined", attempt="")),
        "the provider has it",
    ),
    "not in the ledger": (lambda s: replace(s, ledger=s.ledger[1:]), "a: accepted, but the ledger has []"),
    "not sent": (
        lambda s: with_records(s, "a", FIRST, recorded("a", 2, "not_sent")),
        "a: not_sent, but the ledger has",
    ),
    "other id": (
        lambda s: replace(s, ledger=[s.ledger[0]._replace(message_id="n"), *s.ledger[1:]]),
        "a: the record is",
    ),
    "unlisted": (lambda s: replace(s, listed=[]), "1 are unknown, but 0 listed"),
    "listed without reason": (lambda s: replace(s, listed=[*s.listed, "respond-y"]), "but 2 listed"),
    "after the opt-out": (lambda s: with_statement(s, FIRST.appended - 1), "its intent is 1 ms after"),
    "pending": (lambda s: with_records(s, "b", UNSURE[0]), "b: an intent without an outcome"),
    "undecided": (
        lambda s: replace(s, records={k: v for k, v in s.records.items() if k != "a"}),
        "a: no decision",
    ),
    "ClickHouse": (
        lambda s: replace(s, stored={**s.stored, "a": "intent"}),
        "a: accepted in Kafka, intent in",
    ),
    "not answered": (
        lambda s: with_records(s, "b", recorded("b", 1, "declined", reason="no_rule")),
        "must be answered, but no_rule",
    ),
    "false cap": (
        lambda s: with_records(s, "b", recorded("b", 1, "declined", reason="daily_cap")),
        "must be answered, but daily_cap",
    ),
    "opt-out answered": (answered_stop, "c: must not be answered, but rule hours did"),
    "within the period": (answered_again, "7575550101: several answers of hours within its period"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_planted_violation_is_found(name: str) -> None:
    plant, finding = VIOLATIONS[name]
    findings = check(plant(clean_run())).findings
    assert any(finding in found for found in findings), findings


def test_opt_out_after_the_intent_or_lifted_is_no_violation() -> None:
    lifted = Statement(FIRST.appended - 1, at(-4), "f", "opted_in")
    assert check(with_statement(clean_run(), FIRST.appended + 1)).findings == []
    assert check(with_statement(clean_run(), FIRST.appended - 2, lifted)).findings == []

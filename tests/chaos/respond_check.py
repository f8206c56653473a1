"""Compares what each side says about the automatic responses of a run. Pure.

Nothing is sent twice, or to a handset whose opt-out comes before the intent; the provider's ledger, the topic
and ClickHouse agree; what is unknown is listed; each wanted answer is accounted for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from streams.auto_response import AutoResponse
from tests.chaos.respond_expected import Expected
from tests.chaos.respond_limits import Answers, check_limits, count_answers
from tests.chaos.respond_sides import LedgerRow, Sides, by_reference, reference_of
from tests.chaos.respond_texts import CAPS

BLOCKING = ("suspected", "opted_out")
#: From what became of an answer, of several responses that one answer is for: the best first.
FATES = ("accepted", "refused", "unknown", "intent", "not_sent", "declined")


@dataclass
class RespondResult:
    """Counts of a run, and the findings in words, which must be empty."""

    findings: list[str] = field(default_factory=list)
    sent_twice: int = 0
    #: What became of the wanted answers: accepted, refused, unknown, or why not.
    wanted: Counter[str] = field(default_factory=Counter)
    #: Of all responses.
    outcomes: Counter[str] = field(default_factory=Counter)
    #: Unknown ones by what the ledger says.
    unknown: Counter[str] = field(default_factory=Counter)


def check_responses(sides: Sides, expected: Expected, partitions: int) -> RespondResult:
    """Compare all sides; nothing may be pending.

    Args:
        partitions: of `auto_responses`, over which caps are divided.
    """
    result, outcomes, ledger = RespondResult(), sides.outcomes(), by_reference(sides.ledger)
    result.outcomes.update(record.outcome for record in outcomes.values())
    result.findings += _check_decisions(sides, outcomes)
    result.findings += _check_ledger(sides, outcomes, ledger, result)
    result.findings += _check_unknown(sides, outcomes)
    result.findings += _check_opt_outs(sides, outcomes)
    result.findings += _check_rules(outcomes, expected)
    counts = count_answers(sides, outcomes)
    result.findings += check_limits(counts, partitions)
    result.findings += _check_wanted(sides, outcomes, expected, counts, partitions, result)
    return result


def _check_decisions(sides: Sides, outcomes: dict[str, AutoResponse]) -> Iterator[str]:
    written = {response.event_id for response in sides.responses}
    yield from (f"{event_id}: no decision" for event_id in written - outcomes.keys())
    yield from (f"{event_id}: a decision about no response" for event_id in outcomes.keys() - written)
    for event_id, record in outcomes.items():
        if record.outcome == "intent":
            yield f"{event_id}: an intent without an outcome"
        if sides.stored.get(event_id) != record.outcome:
            yield f"{event_id}: {record.outcome} in Kafka, {sides.stored.get(event_id)} in ClickHouse"
    yield from (f"{event_id}: only in ClickHouse" for event_id in sides.stored.keys() - outcomes.keys())


def _check_ledger(
    sides: Sides, outcomes: dict[str, AutoResponse], ledger: dict[str, list[LedgerRow]], result: RespondResult
) -> Iterator[str]:
    """Each event has one row at most, and an outcome that agrees with it."""
    calls = dict[str, list[LedgerRow]]()
    event_of = {
        reference_of(each.record): event_id
        for event_id, records in sides.records.items()
        for each in records
        if each.record.attempt
    }
    for reference, rows in ledger.items():
        if (event_id := event_of.get(reference)) is None:
            yield f"{reference}: the provider has it, the topic does not"
        else:
            calls.setdefault(event_id, []).extend(rows)
    for event_id, rows in calls.items():
        if len(rows) > 1:
            result.sent_twice += 1
            yield f"{event_id}: the provider got {len(rows)} calls"
        elif rows[0].reference_id != reference_of(sides.records[event_id][0].record):
            yield f"{event_id}: another attempt than that of the first record was sent"
    for event_id, record in outcomes.items():
        rows = calls.get(event_id, [])
        if record.outcome == "unknown":
            result.unknown[_fate_of(rows)] += 1
        elif finding := _disagreement(record, rows):
            yield f"{event_id}: {finding}"


def _fate_of(rows: list[LedgerRow]) -> str:
    if not rows:
        return "not in the ledger"
    answer = "accepted" if rows[0].message_id else "refused"
    return f"{answer}, dropped" if rows[0].dropped else f"{answer}, answered to a process that was killed"


def _disagreement(record: AutoResponse, rows: list[LedgerRow]) -> str:
    """How a known outcome differs from the ledger."""
    if record.outcome in ("declined", "not_sent"):
        return f"{record.outcome}, but the ledger has {rows}" if rows else ""
    if not rows or rows[0].dropped:
        return f"{record.outcome}, but the ledger has {rows}"
    row = rows[0]
    same = (record.message_id, record.outcome == "accepted", record.text, f"1{record.number}"[-11:])
    if same != (row.message_id, row.error == 0, row.text, f"1{row.to_number}"[-11:]):
        return f"the record is {record}, the ledger has {row}"
    return ""


def _check_unknown(sides: Sides, outcomes: dict[str, AutoResponse]) -> Iterator[str]:
    unknown = [reference_of(record) for record in outcomes.values() if record.outcome == "unknown"]
    if Counter(sides.listed) != Counter(unknown):
        yield f"{len(unknown)} are unknown, but {len(sides.listed)} listed"


def _check_opt_outs(sides: Sides, outcomes: dict[str, AutoResponse]) -> Iterator[str]:
    """No intent that may have been sent comes after an opt-out of its handset."""
    for event_id, record in outcomes.items():
        if record.outcome not in ("accepted", "refused", "unknown"):
            continue
        intent = sides.records[event_id][0]
        before = [
            each
            for each in sides.statements.get(record.number, ())
            if each.signal != "yes" and (each.appended < intent.appended or each.event_id == event_id)
        ]
        last = max(before, key=lambda each: (each.said_at, each.signal in BLOCKING), default=None)
        if last and last.signal in BLOCKING:
            late = intent.appended - last.appended
            yield f"{event_id}: {record.outcome}, its intent is {late} ms after {last}"


def _check_rules(outcomes: dict[str, AutoResponse], expected: Expected) -> Iterator[str]:
    for event_id, record in outcomes.items():
        if record.outcome == "declined":
            continue
        candidate = expected.candidates.get(event_id)
        if candidate is None:
            yield f"{event_id}: must not be answered, but rule {record.rule} did"
        elif candidate.rule != record.rule:
            yield f"{event_id}: answered by {record.rule}, must be {candidate.rule}"


def _check_wanted(
    sides: Sides,
    outcomes: dict[str, AutoResponse],
    expected: Expected,
    counts: Answers,
    partitions: int,
    result: RespondResult,
) -> Iterator[str]:
    """Each wanted answer has an outcome, or a reason that is true and none of these rules'."""
    full = {
        (rule, partition)
        for (rule, _, partition), found in counts.items()
        if len(found) >= CAPS[rule] // partitions
    }
    for wanted in expected.wanted:
        found = [outcomes[event_id] for event_id in wanted.event_ids if event_id in outcomes]
        best = min(found, key=lambda record: FATES.index(record.outcome), default=None)
        if best is None:
            continue  # without a decision, as found above
        fate = best.outcome if best.outcome in FATES[:4] else f"{best.outcome}: {best.reason}"
        result.wanted[fate] += 1
        if best.outcome == "declined":
            partition = sides.records[best.event_id][0].partition
            is_full = best.reason == "daily_cap" and (best.rule, partition) in full
            if not is_full and best.reason != "too_old":
                yield f"{wanted}: must be answered, but {best.reason}"

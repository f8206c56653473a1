"""Compares what the client's log, the provider's ledger and ClickHouse say about each message. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from sending.intents import RowState, SendStatus
from tests.chaos.send_plan import PlannedSend, Treatment
from tests.chaos.send_sides import LedgerAnswer, SendSides, StoredSubmission


def compare_sends(sends: Sequence[PlannedSend], sides: SendSides) -> Iterator[str]:
    """Yield each disagreement in words."""
    stored = defaultdict[str, list[StoredSubmission]](list)
    for submission in sides.stored:
        stored[submission.reference_id].append(submission)
    for send in sends:
        yield from (
            f"{send.reference_id}: {finding}"
            for finding in _compare_send(send, sides, stored.pop(send.reference_id, []))
        )
    yield from (f"{reference}: in submissions, never sent" for reference in stored)


def _compare_send(send: PlannedSend, sides: SendSides, stored: list[StoredSubmission]) -> Iterator[str]:
    row, answers = sides.log.get(send.reference_id), sides.answers_to(send)
    if row is None:
        yield "not in the client's log"
        return
    if len(answers) > 1:
        yield f"the provider took it {len(answers)} times"
        return
    if row.status is SendStatus.UNKNOWN:
        if stored:
            yield f"unknown, but there is a submission: {stored}"
        yield from _compare_unknown(send, sides, answers)
        return
    if send.is_dropped:
        yield f"dropped, but the client's log says {row.status}"
    elif not answers or answers[0].dropped:
        yield f"{row.status} by the client's log, but the ledger has {answers}"
    else:
        yield from _compare_answered(send, row, answers[0], stored)


def _compare_unknown(send: PlannedSend, sides: SendSides, answers: list[LedgerAnswer]) -> Iterator[str]:
    if not send.is_dropped and send.reference_id not in sides.interrupted():
        yield f"unknown without a reason: {sides.log[send.reference_id].detail}"
    if send.treatment is Treatment.DROPPED_BEFORE and answers:
        yield f"dropped before it was accepted, but the ledger has {answers}"
    is_accepted = bool(answers) and answers[0].message_id is not None
    is_reported = send.reference_id in sides.reported
    if is_reported != (is_accepted and send.treatment is not Treatment.SILENT):
        yield f"accepted: {is_accepted}, but something was posted about it: {is_reported}"


def _compare_answered(
    send: PlannedSend, row: RowState, answer: LedgerAnswer, stored: list[StoredSubmission]
) -> Iterator[str]:
    status = SendStatus.REFUSED if send.error else SendStatus.QUEUED
    if row.status is not status or answer.error != send.error:
        yield f"must be {status} with error {send.error}, but is {row} and {answer}"
    if status is SendStatus.QUEUED and row.detail != answer.message_id:
        yield f"the client's log has the MessageID {row.detail}, the ledger {answer.message_id}"
    fate = {Treatment.REFUSED: "refused", Treatment.SILENT: "unsent"}.get(send.treatment, "matched")
    must_be = StoredSubmission(send.reference_id, send.to_number, answer.message_id, answer.error, fate)
    if stored != [must_be]:
        yield f"must be stored as {must_be}, not {stored}"

"""Requires that the client's log, the provider's ledger and ClickHouse agree about a run of sends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from simulator.calls import SendRequest, encode_answers
from tests.chaos.expected import SubmittedAnswer
from tests.chaos.outcome import PostLog
from tests.chaos.scenario import Stage
from tests.chaos.send_check import compare_sends
from tests.chaos.send_sides import LedgerAnswer, SendSides, read_fates, read_ledger, read_reported
from tests.chaos.sender import PrintedUnknown
from tests.chaos.sends import Pipeline, SentRows

#: Findings that are shown; more are counted.
SHOWN = 20


def require_agreement(stage: Stage, pipeline: Pipeline, sent: SentRows, posts: PostLog) -> None:
    """Compare all sides, once everything is stored.

    Adds the answers that the client got to `posts`, so that the checker knows what was submitted.
    """
    sender = sent.sender
    log = {row.reference_id: row for row in sender.read_state().rows.values()}
    sides = SendSides(
        read_ledger(sent.ledger), log, read_fates(pipeline.clickhouse), read_reported(pipeline.clickhouse)
    )
    findings = list(compare_sends(sent.sends, sides))
    for finding in findings:
        stage.log(finding)
    stage.require(not findings, f"all sides agree; they do not in {len(findings):,}: {findings[:SHOWN]}")
    unknown, interrupted = sides.unknown(), sides.interrupted()
    stage.show(f"unknown: {len(unknown):,}, {len(interrupted):,} of them interrupted by {sender.kills} kills")
    stage.require(bool(interrupted) <= bool(sender.kills), "only kills interrupt calls")
    printed = PrintedUnknown.read(sender.read_output())
    stage.require(
        printed.counted == printed.listed == len(unknown) and printed.references <= unknown,
        f"the {len(unknown):,} unknown ones are listed, not {printed}",
    )
    for answer in _known_answers(sides.answers, unknown):
        posts.record_answer(answer, 200)


def _known_answers(answers: Sequence[LedgerAnswer], unknown: set[str]) -> Iterator[SubmittedAnswer]:
    """The answers that the client got, as the provider encodes them."""
    for answer in answers:
        if answer.reference_id not in unknown:
            request = SendRequest(answer.to_number, "", "", reference_id=answer.reference_id)
            raw = encode_answers([(request, answer.message_id, answer.error)], many=False)
            yield SubmittedAnswer(raw, answer.message_id, "refused" if answer.error else "")

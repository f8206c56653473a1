"""Sends from a CSV file, through the simulated provider and a gateway on Kafka: nothing twice."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from gateway.postback import POSTBACK_TOPICS, decode
from gateway.submission import SUBMISSIONS, decode_submission
from sending.intent_log import read_log
from sending.intents import SendStatus
from simulator.provider import ProviderPlan, serve
from tests.support.gateway import open_gateway
from tests.support.process import run_module
from tests.support.wait import eventually
from tests.support.workload import read_all


class Answer(NamedTuple):
    """A row of the ledger."""

    reference_id: str
    to_number: str
    message_id: str | None
    error: int
    dropped: int


async def send_file(file: Path, provider: str, gateway: str) -> tuple[int, str]:
    """Run `postbacks send --csv`; return its status and what it printed."""
    done = await asyncio.to_thread(
        run_module,
        *("cli", "send", "--unchecked", "--csv", file, "--from", "74121", "--rate", "200"),
        license_key="key",
        provider=f"http://{provider}/sms.svc",
        submission_url=f"http://{gateway}/submission",
        data=file.parent,
    )
    return done.returncode, done.stdout


def write_rows(file: Path) -> dict[str, SendStatus]:
    """Write a file; return the outcome of each reference."""
    outcomes = {
        "drop-after": SendStatus.UNKNOWN,
        "error-3": SendStatus.REFUSED,
        "delay-0.2": SendStatus.QUEUED,
        "drop-before": SendStatus.UNKNOWN,
        "error-6": SendStatus.REFUSED,
        "silent": SendStatus.QUEUED,
    }
    # Few unknown ones are in flight at once, as five in a row end a run.
    kinds = [kind for kind in outcomes for _ in range(5)] * 4
    rows = {f"{number} {kind if number % 5 == 0 else 'plain'}": kind for number, kind in enumerate(kinds)}
    expected = {
        reference: SendStatus.QUEUED if "plain" in reference else outcomes[kind]
        for reference, kind in rows.items()
    }
    lines = [f"1757544{number:04d},Hi,{reference}\n" for number, reference in enumerate(rows)]
    file.write_text("to,text,reference\n" + "".join(lines))
    return expected


async def test_ledger_submissions_and_outcomes_agree(fresh_kafka: str, tmp_path: Path) -> None:
    file, path = tmp_path / "rows.csv", tmp_path / "ledger"
    expected = write_rows(file)
    stop, listening = asyncio.Event(), asyncio.get_running_loop().create_future()
    with open_gateway(fresh_kafka) as gateway:
        plan = ProviderPlan("127.0.0.1", 0, 1, f"http://{gateway.address}/postback", pace=0.05, ledger=path)
        serving = asyncio.create_task(serve(plan, stop, listening.set_result))
        runs = [await send_file(file, await listening, gateway.address) for _ in range(2)]
        stop.set()
        report = await serving
        await eventually(lambda: gateway.metric("postbacks_gateway_spool_records") == 0, "spool empty")
        submissions = [decode_submission(record.value) for record in await read_all(fresh_kafka, SUBMISSIONS)]
        postbacks = [
            decode(topic, record.value)
            for topic in POSTBACK_TOPICS
            for record in await read_all(fresh_kafka, topic)
        ]
    with closing(sqlite3.connect(path)) as database:
        columns = ", ".join(Answer._fields)
        answers = [Answer(*row) for row in database.execute(f"SELECT {columns} FROM answers")]

    rows = read_log(file.with_name("rows.csv.sends")).rows.values()
    assert {row.reference_id: row.status for row in rows} == expected
    unknown = {reference for reference, status in expected.items() if status is SendStatus.UNKNOWN}
    for status, output in runs:  # the second run sends nothing, and lists the same
        assert status == 1
        assert set(re.findall(r"ReferenceID (.+):", output)) == unknown

    # Sent twice: 0. What was dropped before it was accepted is not in the ledger, and all else is, once.
    assert (report.sent_twice, report.calls, report.dropped) == (0, len(expected), {"after": 4, "before": 4})
    assert sorted(answer.reference_id for answer in answers) == sorted(
        reference for reference in expected if "drop-before" not in reference
    )
    stored = {(s.reference_id, s.to_number, s.message_id or None, s.error) for s in submissions}
    assert stored == {answer[:4] for answer in answers if not answer.dropped}
    assert len(submissions) == len(stored)

    # Postbacks prove which of the unknown ones were sent.
    assert (report.postbacks.unsure, report.postbacks.refused, report.pending) == (0, 0, 0)
    assert len({postback.event_id for postback in postbacks}) == report.postbacks.events
    proven = {postback.reference_id for postback in postbacks} & unknown
    assert proven == {reference for reference in unknown if "drop-after" in reference}

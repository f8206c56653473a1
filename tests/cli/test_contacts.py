"""`postbacks contact` and `postbacks contacts`: looking up, listing, exporting and importing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec import json

from cli.__main__ import postbacks
from runtime.settings import load_settings
from streams.contact_event import CONTACT_EVENTS, contact_event_key, decode_contact_event
from streams.transport.producer import partition_of
from tests.support.pipeline import Pipeline, create_pipeline
from tests.support.postbacks import reply
from tests.support.workload import read_all

ROWS = (
    "number,own_number,at,words,signal\n"
    "1 757 555 0100,74121,2026-01-02,Stop please,opted_out\n"
    '17575550101,,,"Wrong ""number""",suspected\n'
)


async def call(pipeline: Pipeline, *arguments: object, **environment: str) -> Result:
    """Run `postbacks arguments…` on the pipeline, in a thread of the test."""
    variables = {f"POSTBACKS_{name.upper()}": str(value) for name, value in pipeline.settings.items()}
    return await asyncio.to_thread(
        CliRunner().invoke,
        postbacks,
        list(map(str, arguments)),
        obj=lambda: load_settings(variables),
        env=environment,
    )


async def test_imported_and_received_opt_outs_are_listed(
    fresh_kafka: str, prepared_database: str, tmp_path: Path
) -> None:
    pipeline, file = await create_pipeline(fresh_kafka, prepared_database, tmp_path), tmp_path / "list.csv"
    file.write_text(ROWS)
    stop = reply(
        text="STOP", from_number="17575550102", to_number="74121", occurred_at="2026-11-23T12:00:00.000Z"
    )
    await pipeline.streams.produce([stop])
    for _ in range(2):
        imported = await call(pipeline, "contacts", "import", file, "--source", "crm", "--account", "acme")
        assert (imported.exit_code, imported.stdout) == (0, "Events 2, of numbers 2\n"), imported.output
    records = await read_all(fresh_kafka, CONTACT_EVENTS)
    events = [decode_contact_event(record.value) for record in records]
    assert (len(events), len({event.event_id for event in events})) == (4, 2)
    for record, event in zip(records, events, strict=True):
        assert record.key == contact_event_key(event)
        assert record.partition == partition_of(record.key, pipeline.streams.partitions)
    with pipeline.streams.worker():
        await pipeline.streams.wait_contacts_merged()
    await pipeline.store()

    shown = await call(pipeline, "contact", "+1 (757) 555-0100", "--json")
    found = json.decode(shown.stdout)
    (fact,) = found["facts"]
    assert (fact["source"], fact["source_name"], fact["words"]) == ("import", "crm", "Stop please")
    assert [verdict["verdict"] for verdict in found["verdicts"]] == ["opted_out"] * 2
    text = (await call(pipeline, "contact", "17575550102", "--from", "74121")).stdout
    assert text.startswith("Contact 7575550102  opted_out\n")
    assert "“STOP” to 74121" in text
    unknown = await call(pipeline, "contact", "17575550103")
    assert (unknown.exit_code, unknown.output) == (1, "Error: 7575550103 has neither opted out nor in\n")

    listed = (await call(pipeline, "contacts", "--opted-out", "--account", "acme")).stdout
    assert [line.split("\t") for line in listed.splitlines()] == [
        ["number", "verdict", "since", "own number", "account", "words"],
        ["7575550100", "opted_out", "2026-01-02 00:00:00", "74121", "acme", "Stop please"],
        ["7575550102", "opted_out", "2026-11-23 12:00:00", "74121", "acme", "STOP"],
    ]
    both = ("contacts", "--opted-out", "--suspected")
    table = (await call(pipeline, *both, FORCE_COLOR="1", TERM="dumb", COLUMNS="80")).stdout
    assert len(table.splitlines()) == 4
    assert max(map(len, table.splitlines())) <= 80
    exported = tmp_path / "export.csv"
    assert (await call(pipeline, *both, "--csv", exported)).stdout == ""
    lines = exported.read_text().splitlines()
    assert lines[:2] == [
        "number,own_number,at,words,signal,account",
        "7575550100,74121,2026-01-02T00:00:00.000Z,Stop please,opted_out,acme",
    ]
    assert lines[2].startswith("7575550101,,20")
    assert lines[2].endswith(',"Wrong ""number""",suspected,acme')
    assert (await call(pipeline, *both, "--csv", "-")).stdout.splitlines() == lines


def invoke(*arguments: object) -> Result:
    unreachable = {"POSTBACKS_KAFKA": "127.0.0.1:1", "POSTBACKS_CLICKHOUSE": "http://127.0.0.1:1/postbacks"}
    return CliRunner().invoke(
        postbacks, list(map(str, arguments)), obj=lambda: load_settings(unreachable), terminal_width=80
    )


def test_file_with_invalid_rows_imports_nothing(tmp_path: Path) -> None:
    """Kafka is not even asked."""
    file = tmp_path / "list.csv"
    file.write_text(f"{ROWS}none,,,,\n17575550100,,soon,,\n")
    done = invoke("contacts", "import", file, "--source", "crm")
    assert done.exit_code == 2
    assert "nothing was imported" in done.output
    assert "line 4: number='none'" in done.output
    assert "line 5: at='soon'" in done.output


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["contacts"], "--opted-out or --suspected is required"),
        (["contacts", "--opted-out", "--account", "A/B"], "'A/B': must be up to 64 of a-z"),
        (["contacts", "--opted-out", "import", __file__, "--source", "x"], "options after its name"),
        (["contacts", "import", __file__, "--source", " "], "must be 1 to 64 printable characters"),
        (["contacts", "import", __file__], "Missing option '--source'"),
        (["contact", "none"], "'none' is not a phone number"),
    ],
)
def test_wrong_option_about_contacts_is_named(arguments: list[str], problem: str) -> None:
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert problem in " ".join(done.output.replace("│", " ").split())


@pytest.mark.parametrize("width", [80, 110])
def test_page_of_import_fits_the_terminal(width: int) -> None:
    done = CliRunner().invoke(postbacks, ["contacts", "import", "--help"], terminal_width=width)
    assert "Example:\n    postbacks contacts import" in done.output
    assert all(len(line) <= width for line in done.output.splitlines())

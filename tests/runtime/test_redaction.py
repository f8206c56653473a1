"""Logs and metrics contain no tokens, no full phone numbers and no message texts."""

from __future__ import annotations

import json
import logging
import sys
from functools import partial
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
import structlog

from gateway.postback import SENT
from runtime.clickhouse.errors import redact
from runtime.log_filters import redact_phone_numbers
from runtime.logging import configure_logs
from tests.support.contact_lookup import look_up
from tests.support.gateway import open_gateway, post
from tests.support.sinks import execute, open_sink, produce_values, wait_committed
from tests.support.streams import Streams
from tests.support.wait import eventually
from tests.support.workload import lag

TOKEN, READ_TOKEN, NUMBER, OTHER, TEXT = (
    "a-token-of-acme",
    "a-token-that-reads",
    "17575449510",
    "7575449511",
    "a text that must stay private",
)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("17575449510", "…9510"),
        ("+17575449510 called", "…9510 called"),
        ("from=7575449510&to=17575449511.", "from=…9510&to=…9511."),
        ('{"from_number":"17575449510"}', '{"from_number":"…9510"}'),
        ("at offset 4294967 of 74121", "at offset 4294967 of 74121"),
        ("acme/11111111-2222-1111-2222-000000000004", "acme/11111111-2222-1111-2222-000000000004"),
        ("v1234567890123 0.1234567890 /data/1234567890ab", "v1234567890123 0.1234567890 /data/1234567890ab"),
    ],
)
def test_only_last_four_digits_of_numbers_remain(text: str, redacted: str) -> None:
    event = {"event": text, "nested": [{"reason": text}], "count": 17575449510, "error": ValueError(text)}
    result = redact_phone_numbers(None, "", dict(event))
    assert result["event"] == result["nested"][0]["reason"] == redacted
    assert result["count"] == event["count"]
    assert redacted in result["error"]


def logged(form: str, **options: tuple[structlog.typing.Processor, ...]) -> str:
    """What is logged of an error with a number in it, by our code and by a library."""
    stderr, sys.stderr = sys.stderr, StringIO()
    try:
        configure_logs("debug", form, **options)
        try:
            int(f"{NUMBER} x")
        except ValueError:
            structlog.get_logger("gateway").exception("Not read", number=NUMBER)
            logging.getLogger("aiokafka").error("Not read: %s", NUMBER)
            logging.getLogger("aiokafka.conn").debug("Request: %s", NUMBER)
        return sys.stderr.getvalue()
    finally:
        sys.stderr = stderr
        logging.getLogger().handlers.clear()
        structlog.reset_defaults()


@pytest.mark.parametrize("form", ["text", "json"])
def test_numbers_are_redacted_for_every_logger_and_traceback(form: str) -> None:
    output = logged(form)
    assert "ValueError: invalid literal" in output
    assert output.count("…9510") == 3 if form == "text" else output.count("\\u20269510") == 3
    assert NUMBER not in output


def test_numbers_are_logged_without_redaction() -> None:
    lines = [json.loads(line) for line in logged("json", redaction=()).splitlines()]
    assert [line["event"] for line in lines] == ["Not read", f"Not read: {NUMBER}"]
    assert lines[0]["number"] == NUMBER


@pytest.mark.parametrize(
    ("error", "redacted"),
    [
        (
            "Code: 27. DB::Exception: Cannot parse input: expected ',' before: 'Hi, call me' : (at row 1)\n"
            ": While executing JSONEachRowRowInputFormat. (CANNOT_PARSE_QUOTED_STRING) (version 26.9)",
            "Code: 27. DB::Exception: Cannot parse input: expected ','… (CANNOT_PARSE_QUOTED_STRING)",
        ),
        (
            "Code: 469. DB::Exception: Constraint `one` is violated at row 1. "
            "Column values: text = 'Hi'. (VIOLATED_CONSTRAINT)",
            "Code: 469. DB::Exception: Constraint `one` is violated at row 1.… (VIOLATED_CONSTRAINT)",
        ),
        ("Code: 242. DB::Exception: Table is in readonly mode. (TABLE_IS_READ_ONLY)", None),
        ("x" * 1000, "x" * 300 + "…"),
    ],
)
def test_row_data_is_cut_from_clickhouse_errors(error: str, redacted: str | None) -> None:
    assert redact(error) == (redacted or error)


async def test_pipeline_logs_and_exports_no_personal_data(
    fresh_kafka: str, database: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The whole pipeline at log level debug, with input that each stage rejects."""
    kafka = fresh_kafka
    with (
        open_gateway(
            kafka,
            tokens=f"acme={TOKEN}",
            read_tokens=f"acme={READ_TOKEN}",
            clickhouse=database,
            log_level="debug",
        ) as gateway,
        Streams(kafka, tmp_path, partitions=8).worker(log_level="debug") as streams,
        open_sink(kafka, database, log_level="debug") as sink,
    ):
        numbers = f"FromPhoneNumber={NUMBER}&ToPhoneNumber={OTHER}&Message={TEXT}"
        response = f"SMSResponse=1&MessageID={uuid4()}&{numbers}".encode()
        path = f"/postback/{TOKEN}?{numbers.replace(' ', '+')}"
        assert (await post(gateway.address, response, path)).status == 200
        assert (await post(gateway.address, numbers.encode(), path)).status == 400
        assert (await post(gateway.address, response, f"/postback/{TOKEN}x")).status == 404
        await produce_values(kafka, SENT, f'{{"text":"{TEXT}","from_number":"{NUMBER}","x":'.encode(), b"{}")
        await eventually(lambda: lag(kafka, "streams", [SENT]), "all merged", lambda lag: lag == 0)
        await wait_committed(kafka)
        found = partial(look_up, gateway.address, NUMBER, OTHER, READ_TOKEN)
        await eventually(found, "looked up", lambda response: response.status == 200)
        assert (await look_up(gateway.address, NUMBER, OTHER, TOKEN)).status == 404
        execute(database, "RENAME TABLE contact_states TO hidden")
        await eventually(found, "no table", lambda response: response.status == 503)
        stages = (gateway, streams, sink)
        outputs = [stage.page(page)[1] for stage in stages for page in ("metrics", "readyz")]
    outputs.append(capfd.readouterr().err)
    assert "ClickHouse refused rows" in outputs[-1]
    assert "postbacks_rejected_total" in outputs[0]
    for secret in (TOKEN, READ_TOKEN, NUMBER, OTHER, TEXT, TEXT.replace(" ", "+")):
        assert not [output for output in outputs if secret in output]

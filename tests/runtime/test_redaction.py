"""Logs and metrics hold no token, no phone number in full and no text of a message."""

from __future__ import annotations

import json
import logging
import sys
from io import StringIO
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest
import structlog

from gateway.postback import SENT
from runtime.clickhouse.redaction import redact
from runtime.logging import configure_logs
from runtime.personal import redact_phone_numbers
from tests.support.gateway import free_address, open_gateway, post
from tests.support.process import running
from tests.support.sinks import all_stored, open_sink, send, until
from tests.support.workload import lag

TOKEN, NUMBER, OTHER, TEXT = (
    "a-token-of-acme",
    "17575449510",
    "7575449511",
    "a text that is nobody's business",
)


@pytest.mark.parametrize(
    ("said", "logged"),
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
def test_of_a_number_four_digits_are_left(said: str, logged: str) -> None:
    event = {"event": said, "nested": [{"why": said}], "count": 17575449510, "error": ValueError(said)}
    shortened = redact_phone_numbers(None, "", dict(event))
    assert shortened["event"] == shortened["nested"][0]["why"] == logged
    assert shortened["count"] == event["count"]
    assert logged in shortened["error"]


def logged(form: str, **personal: tuple[structlog.typing.Processor, ...]) -> str:
    """What comes of an error with a number in it, said by our code and by a library."""
    stderr, sys.stderr = sys.stderr, StringIO()
    try:
        configure_logs("debug", form, **personal)
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
def test_numbers_are_shortened_whoever_logs_them_and_in_tracebacks(form: str) -> None:
    said = logged(form)
    assert "ValueError: invalid literal" in said
    assert said.count("…9510") == 3 if form == "text" else said.count("\\u20269510") == 3
    assert NUMBER not in said


def test_a_setting_shows_them() -> None:
    lines = [json.loads(line) for line in logged("json", personal=()).splitlines()]
    assert [line["event"] for line in lines] == ["Not read", f"Not read: {NUMBER}"]
    assert lines[0]["number"] == NUMBER


@pytest.mark.parametrize(
    ("words", "kept"),
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
def test_of_clickhouses_words_the_rows_are_left_out(words: str, kept: str | None) -> None:
    assert redact(words) == (kept or words)


async def test_nothing_that_is_peoples_is_logged_or_measured(
    fresh_kafka: str, database: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The whole pipeline at the level of debugging, with what is refused at each stage."""
    settings = {"log_level": "debug"}
    kafka, streams_ops = fresh_kafka, free_address()
    environment = {
        "POSTBACKS_KAFKA": kafka,
        "POSTBACKS_DATA": str(tmp_path),
        "POSTBACKS_OPS": streams_ops,
        "POSTBACKS_LOG_LEVEL": "debug",
    }
    with (
        open_gateway(kafka, tokens=f"acme={TOKEN}", **settings) as gateway,
        running("streams", environment=environment),
        open_sink(kafka, database, **settings) as sink,
    ):
        numbers = f"FromPhoneNumber={NUMBER}&ToPhoneNumber={OTHER}&Message={TEXT}"
        response = f"SMSResponse=1&MessageID={uuid4()}&{numbers}".encode()
        path = f"/postback/{TOKEN}?{numbers.replace(' ', '+')}"
        assert (await post(gateway.address, response, path)).status == 200
        assert (await post(gateway.address, numbers.encode(), path)).status == 400
        assert (await post(gateway.address, response, f"/postback/{TOKEN}x")).status == 404
        await send(kafka, SENT, f'{{"text":"{TEXT}","from_number":"{NUMBER}","x":'.encode(), b"{}")

        async def merged() -> bool:
            return await lag(kafka, "streams", [SENT]) == 0

        await until(merged, "all merged")
        await all_stored(kafka)
        said = []
        async with aiohttp.ClientSession() as client:
            for ops in (gateway.ops, streams_ops, sink.ops):
                for page in ("metrics", "readyz"):
                    async with client.get(f"http://{ops}/{page}") as answer:
                        said.append(await answer.text())
    said.append(capfd.readouterr().err)
    assert "ClickHouse refused rows" in said[-1]
    assert "postbacks_rejected_total" in said[0]
    for secret in (TOKEN, NUMBER, OTHER, TEXT, TEXT.replace(" ", "+")):
        assert not [page for page in said if secret in page]

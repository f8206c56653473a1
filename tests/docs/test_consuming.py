"""The programs of docs/consuming.md run as printed, with duplicates, stale states and tombstones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from aiokafka import AIOKafkaProducer

from docs.generate import examples
from gateway.postback import RESPONSE, Receipt, key_of
from streams.correlate import headers
from streams.join import join
from streams.merge import state_of
from streams.message import MESSAGES, decode_message, encode_message
from streams.state.spec import Headers
from tests.support.process import ROOT, Process

PAGE = (ROOT / "docs" / "consuming.md").read_text()
PROGRAMS = {
    name: text for text, name in re.findall(r"```python\n(# (\w+\.py)\n.*?)```", PAGE, flags=re.DOTALL)
}
POSTBACKS = examples.postbacks()
REPLY = POSTBACKS[RESPONSE]
SENT, RECEIPT = (state_of(postback) for postback in POSTBACKS.values() if postback is not REPLY)
KEY = key_of(SENT.account, SENT.message_id)
NAME = KEY.decode()


def run(name: str, kafka: str, folder: Path, *arguments: str) -> Process:
    """Start a program of the page."""
    (folder / name).write_text(PROGRAMS[name])
    popen = subprocess.Popen(
        [sys.executable, name, *arguments],
        cwd=folder,
        env=os.environ | {"KAFKA": kafka},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    return Process(popen)


def read_line_with(program: Process, text: str) -> str:
    """Return the next line that contains the text; Faust logs others, too."""
    while text not in (line := program.read_line()):
        pass
    return line


async def write(kafka: str, topic: str, *records: tuple[bytes | None, Headers]) -> None:
    """Produce records about the message, in this order."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer:
        for value, with_headers in records:
            await producer.send_and_wait(topic, value, key=KEY, headers=with_headers)


def test_page_has_exactly_the_tested_programs() -> None:
    assert set(PROGRAMS) == {"replies.py", "states.py", "failures.py"}


async def test_duplicate_reply_is_processed_once(prepared_kafka: str, tmp_path: Path) -> None:
    _, value = examples.records()[RESPONSE]
    other = value.replace(REPLY.event_id.encode(), b"0" * 32).replace(b'"Test"', b'"Stop"')
    await write(prepared_kafka, RESPONSE, (value, []), (value, []), (other, []))
    with run("replies.py", prepared_kafka, tmp_path) as program:
        assert program.read_line() == "17575449511 wrote: Test"
        assert program.read_line() == "17575449511 wrote: Stop"


async def test_stale_states_are_joined_and_tombstones_reset(prepared_kafka: str, tmp_path: Path) -> None:
    both = join(SENT, RECEIPT)
    await write(
        prepared_kafka,
        MESSAGES,
        *((encode_message(state), []) for state in (SENT, both, SENT)),
        (None, []),
        (encode_message(RECEIPT), []),
        (encode_message(both), []),
    )
    with run("states.py", prepared_kafka, tmp_path) as program:
        assert [program.read_line() for _ in range(4)] == [
            f"{NAME} is sent",
            f"{NAME} is in_transit",
            f"{NAME} is expired",
            f"{NAME} is in_transit",
        ]


async def test_faust_detects_a_transition_by_headers(prepared_kafka: str, tmp_path: Path) -> None:
    receipt = next(postback for postback in POSTBACKS.values() if isinstance(postback, Receipt))
    receipt.code = "091"
    failed = join(SENT, state_of(receipt))
    assert decode_message(encode_message(failed)).status == "failed"
    await write(
        prepared_kafka,
        MESSAGES,
        (encode_message(SENT), headers("sent", "")),
        (encode_message(failed), headers("failed", "sent")),
        (encode_message(failed), headers("failed", "failed")),
        (None, headers("", "failed")),
        (encode_message(failed), headers("failed", "")),
    )
    with run("failures.py", prepared_kafka, tmp_path, "worker", "--without-web") as program:
        lines = [read_line_with(program, "was not reached") for _ in range(2)]
    assert all("17575449511 was not reached: ['091']" in line for line in lines)

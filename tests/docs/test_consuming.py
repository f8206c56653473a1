"""docs/consuming.md: its programs run as they stand, on what the pipeline writes, repeats and forgets."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest_asyncio
from aiokafka import AIOKafkaProducer

from docs.generate import examples
from gateway.postback import RESPONSE, Receipt, key_of
from streams.change import Headers, headers
from streams.message import MESSAGES, decode_message, encode_message, join, state_of
from tests.support.process import ROOT, Process
from tests.support.sinks import make_topics

PAGE = (ROOT / "docs" / "consuming.md").read_text()
PROGRAMS = {
    name: text for text, name in re.findall(r"```python\n(# (\w+\.py)\n.*?)```", PAGE, flags=re.DOTALL)
}
POSTBACKS = examples.postbacks()
REPLY = POSTBACKS[RESPONSE]
SENT, RECEIPT = (state_of(postback) for postback in POSTBACKS.values() if postback is not REPLY)
KEY = key_of(SENT.account, SENT.message_id)
NAME = KEY.decode()


@pytest_asyncio.fixture
async def kafka(fresh_kafka: str) -> str:
    await make_topics(fresh_kafka)
    return fresh_kafka


@contextmanager
def run(name: str, kafka: str, folder: Path, *arguments: str) -> Iterator[Process]:
    """A program of the page while the block runs."""
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
    process = Process(popen)
    try:
        yield process
    finally:
        process.kill()
        process.output.close()


def said(program: Process, words: str) -> str:
    """The next line with these words; Faust says more than that."""
    while words not in (line := program.line()):
        pass
    return line


async def write(kafka: str, topic: str, *records: tuple[bytes | None, Headers]) -> None:
    """Records about the message, in their order."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer:
        for value, with_headers in records:
            await producer.send_and_wait(topic, value, key=KEY, headers=with_headers)


def test_the_page_has_a_program_for_each_story_here() -> None:
    assert set(PROGRAMS) == {"replies.py", "states.py", "failures.py"}


async def test_a_reply_that_comes_twice_is_acted_on_once(kafka: str, tmp_path: Path) -> None:
    _, value = examples.records()[RESPONSE]
    other = value.replace(REPLY.event_id.encode(), b"0" * 32).replace(b'"Test"', b'"Stop"')
    await write(kafka, RESPONSE, (value, []), (value, []), (other, []))
    with run("replies.py", kafka, tmp_path) as program:
        assert program.line() == "17575449511 wrote: Test"
        assert program.line() == "17575449511 wrote: Stop"


async def test_a_stale_state_that_comes_last_changes_nothing_and_a_tombstone_begins_anew(
    kafka: str, tmp_path: Path
) -> None:
    both = join(SENT, RECEIPT)
    await write(
        kafka,
        MESSAGES,
        *((encode_message(state), []) for state in (SENT, both, SENT)),
        (None, []),
        (encode_message(RECEIPT), []),
        (encode_message(both), []),
    )
    with run("states.py", kafka, tmp_path) as program:
        assert [program.line() for _ in range(4)] == [
            f"{NAME} is sent",
            f"{NAME} is in_transit",
            f"{NAME} is let go of",
            f"{NAME} is in_transit",
        ]


async def test_faust_picks_a_transition_by_the_headers(kafka: str, tmp_path: Path) -> None:
    receipt = next(postback for postback in POSTBACKS.values() if isinstance(postback, Receipt))
    receipt.code = "091"
    failed = join(SENT, state_of(receipt))
    assert decode_message(encode_message(failed)).status == "failed"
    await write(
        kafka,
        MESSAGES,
        (encode_message(SENT), headers("sent", "")),
        (encode_message(failed), headers("failed", "sent")),
        (encode_message(failed), headers("failed", "failed")),
        (None, headers("", "failed")),
        (encode_message(failed), headers("failed", "")),
    )
    with run("failures.py", kafka, tmp_path, "worker", "--without-web") as program:
        lines = [said(program, "was not reached") for _ in range(2)]
    assert all("17575449511 was not reached: ['091']" in line for line in lines)

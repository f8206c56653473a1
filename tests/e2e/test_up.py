"""`postbacks up` and commands beside it, on one stack for all tests: posting, reading, killed processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from cli.up.welcome import SAMPLE, SAMPLE_ID
from simulator.postback import Message, reply
from tests.support.contact_lookup import wait_for_answer
from tests.support.kafka import free_ports
from tests.support.samples import numbered_id, numbered_sent
from tests.support.simulated_provider import SimulatedProvider, simulated_provider
from tests.support.stack import SHORT_SESSION, Stack, command, free_port_options, stack, tail

#: From the provider's documentation. The reply is to the message of `SAMPLE`, the receipt is about another.
RESPONSE = (
    "SMSResponse=1&MessageID=11111111-2222-1111-2222-000000000004&MatchedMessageID="
    f"{SAMPLE_ID}&ReferenceID=&FromPhoneNumber=17575449511&ToPhoneNumber=17575449510"
    "&ResponseReceiveDate=5%2f8%2f2010+2%3a42%3a36+AM&Message=Test"
)
RECEIPT_ID = "f880e00b-3a14-484c-80e7-ca6aa29a2f7a"
RECEIPT = (
    f"DeliveryReceipt=1&MessageID={RECEIPT_ID}&ReferenceID=&FromPhoneNumber=74121&ToPhoneNumber=17572373369"
    "&DeliveryReceiptMessage=sm: msg: id:18579674100201040 sub:001 dlvrd:001 submit date:1209281334 "
    "done date:1209281334 stat:DELIVERED TO CARRIER err:003 text:&Code=003"
)

pytestmark = pytest.mark.engine


RULES = """
[own_numbers]
default = ["74121"]
[[rule]]
name = "hours"
keywords = ["HOURS"]
text = "We are open from 11:00 to 22:00."
"""


@pytest.fixture(scope="module")
def port() -> str:
    return str(free_ports(1)[0])


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory, port: str) -> Iterator[SimulatedProvider]:
    url = f"http://127.0.0.1:{port}/postback"
    with simulated_provider(tmp_path_factory.mktemp("provider") / "ledger", url) as running:
        yield running


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, provider: SimulatedProvider, port: str) -> Iterator[Stack]:
    rules = tmp_path_factory.mktemp("rules") / "rules.toml"
    rules.write_text(RULES)
    settings = SHORT_SESSION | {
        "POSTBACKS_PROVIDER": provider.url,
        "POSTBACKS_LICENSE_KEY": "any",
        "POSTBACKS_RESPOND": "on",
    }
    options = ("--port", port, "--respond", str(rules))
    with stack(tmp_path_factory.mktemp("up"), *options, settings=settings) as running:
        yield running


def test_samples_are_in_sql_within_two_seconds(up: Stack) -> None:
    up.post(SAMPLE)  # the first postback is slower: processes import lazily
    up.wait_for_result("SELECT count() FROM messages", "1")
    assert up.post(RESPONSE) == 200
    assert up.post(RECEIPT) == 200
    durations = [
        up.wait_for_result(
            "SELECT status, count() FROM messages WHERE replied_at IS NOT NULL OR carrier_at IS NOT NULL "
            "GROUP BY status ORDER BY status",
            "in_transit\t1\nsent\t1",
        )
    ]
    while min(durations) >= 2 and len(durations) < 5:  # the best of several, as the machine may be busy
        number = 8000 + len(durations)
        assert up.post(numbered_sent(number)) == 200
        query = f"SELECT status FROM messages WHERE message_id = '{numbered_id(number)}'"
        durations.append(up.wait_for_result(query, "sent"))
    assert min(durations) < 2


@pytest.fixture
def samples(up: Stack) -> Stack:
    """The stack, with the provider's three samples stored."""
    for sample in (SAMPLE, RESPONSE, RECEIPT):
        assert up.post(sample) == 200
    up.wait_for_result(f"SELECT length(replies) FROM messages WHERE message_id = '{SAMPLE_ID}'", "1")
    up.wait_for_result(f"SELECT length(receipts) FROM messages WHERE message_id = '{RECEIPT_ID}'", "1")
    up.wait_for_result(
        f"SELECT outcome FROM auto_response_outcomes WHERE answered_message_id = '{SAMPLE_ID}'", "declined"
    )
    return up


@pytest.mark.parametrize(
    "notation", [SAMPLE_ID, "{9A35E913-DED0-7574-4642-5F60C550C706}", SAMPLE_ID.replace("-", "")]
)
def test_message_shows_its_timeline_in_order(samples: Stack, notation: str) -> None:
    done = samples.run("message", notation)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == f"Message {SAMPLE_ID} sent"
    assert {"account default", "from 17575449510", "to 17575449511", "reference 12345"} <= set(lines)
    timeline = lines[lines.index("") + 1 :]
    assert "sent handed to the aggregator; provider's clock 2010-05-08 02:42:36.000" in timeline[0]
    assert "reply “Test” from 17575449511" in timeline[1]
    assert "no answer automatic response: none: it came or was sent too long ago" in timeline[2]
    assert len(timeline) == 3


def test_message_explains_its_receipt(samples: Stack) -> None:
    done = samples.run("message", RECEIPT_ID)
    text = " ".join(done.stdout.split())
    assert "receipt 003 DeliveredToCarrier (in transit); stat DELIVERED TO CARRIER; err 003" in text
    assert "orphan neither its submission nor an attempt to send it is known" in text


def test_message_json_follows_the_contract(samples: Stack) -> None:
    done = samples.run("message", SAMPLE_ID, "--json")
    message = json.loads(done.stdout)
    assert (message["message_id"], message["status"]) == (SAMPLE_ID, "sent")
    assert message["replies"][0]["text"] == "Test"
    assert message["sent_at"].endswith("Z")


def test_unknown_message_id_is_an_error(up: Stack) -> None:
    done = up.run("message", numbered_id(0xFFFF))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"No message has the id {numbered_id(0xFFFF)}" in done.stderr


def test_sql_writes_tab_separated_lines_to_a_pipe(samples: Stack) -> None:
    done = samples.run("sql", f"SELECT from_number, status FROM messages WHERE message_id = '{SAMPLE_ID}'")
    assert (done.returncode, done.stdout) == (0, "from_number\tstatus\n17575449510\tsent\n")


def test_sql_writes_json_or_the_querys_format(samples: Stack) -> None:
    assert samples.run("sql", "--json", "SELECT 1 AS one").stdout == '{"one":1}\n'
    assert samples.run("sql", "SELECT 1, 2 FORMAT CSV").stdout == "1,2\n"


def test_sql_is_read_only(up: Stack) -> None:
    done = up.run("sql", "DROP TABLE postbacks")
    assert done.returncode == 1
    assert "readonly" in done.stderr
    assert up.run("sql", "SELECT count() >= 0 AS there FROM postbacks").returncode == 0


def test_sql_prints_clickhouses_error(up: Stack) -> None:
    done = up.run("sql", "SELECT nonsense FROM messages")
    assert (done.returncode, done.stdout) == (1, "")
    assert "UNKNOWN_IDENTIFIER" in done.stderr


def test_simulate_reports_posts_and_expected_messages(up: Stack) -> None:
    done = up.run("simulate", "--url", up.url, "--count", "200", "--rate", "1000", "--seed", "42", "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert (report["posts"], report["unsure"]) == (200, 0)
    assert sum(report["statuses"].values()) == report["messages"] > 0


def test_topics_and_migrate_change_nothing_when_current(up: Stack) -> None:
    topics = up.run("topics")
    assert (topics.returncode, topics.stdout.splitlines()[-1]) == (0, "auto_responses: 8 partitions")
    assert (up.run("migrate").stdout, up.run("migrate").returncode) == ("Nothing to apply\n", 0)


def test_topics_that_would_break_correlation_are_refused(up: Stack) -> None:
    done = command("topics", settings={**up.settings, "POSTBACKS_PARTITIONS": "3"})
    assert done.returncode == 2
    assert "has 8 partitions, not 3 (POSTBACKS_PARTITIONS)" in done.stderr


def test_tail_shows_matching_changes_with_both_statuses(up: Stack) -> None:
    with tail(up, "--number", "17575440001", "--status", "delivered", "--status", "sent") as output:
        up.post(numbered_sent(1))
        up.post(numbered_sent(2))  # filtered out by its number
        output.wait_for_line(numbered_id(1))
        up.post(f"DeliveryReceipt=1&MessageID={numbered_id(1)}&Code=000")
        line = output.wait_for_line("sent → delivered")
        assert f"default/{numbered_id(1)}" in line
        assert "74121 → 17575440001" in line
        assert output.send_signal(signal.SIGINT) == 0
    assert not any(numbered_id(2) in line for line in output.lines)


def test_response_is_answered_once_and_both_messages_linked(up: Stack, provider: SimulatedProvider) -> None:
    message = Message(numbered_id(6000), "", "74121", "17575446000")
    assert up.post(numbered_sent(6000)) == 200
    now = datetime.now(UTC)
    for number, text in ((6001, "Hours?"), (6001, "Hours?"), (6002, "hours")):
        assert up.post(reply(message, numbered_id(number), text, now).body.decode()) == 200
    decisions = "SELECT outcome, reason FROM auto_response_outcomes WHERE rule = 'hours' ORDER BY outcome"
    up.wait_for_result(decisions, "declined\tperiod\naccepted")
    assert provider.accepted(message.recipient) == [("We are open from 11:00 to 22:00.", 1)]

    new_id = up.query("SELECT message_id FROM auto_response_outcomes WHERE outcome = 'accepted'")
    submitted = f"SELECT length(submissions), orphan FROM messages WHERE message_id = '{new_id}'"
    up.wait_for_result(submitted, "1\tfalse")
    assert f"message {new_id}" in " ".join(up.run("message", message.message_id).stdout.split())
    assert message.message_id in up.run("message", new_id).stdout


@pytest.mark.parametrize("service", ["gateway", "streams", "sinks", "kafka", "clickhouse"])
def test_killed_process_restarts_alone_without_loss(up: Stack, service: str) -> None:
    number = 7100 + 10 * ["gateway", "streams", "sinks", "kafka", "clickhouse"].index(service)
    before = up.children()
    with tail(up) as output:
        assert up.post(numbered_sent(number)) == 200
        os.kill(before[service], signal.SIGKILL)
        up.wait_for_line(f"{service:<10} | exited with status -9")
        assert up.post(numbered_sent(number + 1)) in (200, 202)
        for each in (number, number + 1):
            query = f"SELECT status FROM messages WHERE message_id = '{numbered_id(each)}'"
            up.wait_for_result(query, "sent")
            output.wait_for_line(numbered_id(each))
    after = up.children()
    assert {name for name in before if before[name] != after.get(name)} == {service}
    assert up.query("SELECT uniqExact(cluster) FROM postbacks") == "1"


def test_two_stacks_cannot_share_a_folder(up: Stack) -> None:
    done = command("up", *free_port_options({}), "--data", str(up.data), settings={})
    assert done.returncode == 2
    assert "Another `postbacks up` uses" in done.stderr


def test_commands_find_the_stack_by_its_folder(up: Stack) -> None:
    settings = {"POSTBACKS_DATA": str(up.data)}
    assert command("topics", settings=settings).returncode == 0
    listed = command("settings", "--json", settings=settings).stdout.splitlines()
    current = {row["setting"]: row["here"] for row in map(json.loads, listed)}
    assert current["POSTBACKS_KAFKA"] == up.settings["POSTBACKS_KAFKA"]
    elsewhere = command("topics", settings={**settings, "POSTBACKS_KAFKA": "127.0.0.1:1"})
    assert (elsewhere.returncode, "127.0.0.1:1" in elsewhere.stderr) == (1, True)


def test_settings_of_the_stack_look_up_contacts(up: Stack) -> None:
    stop = RESPONSE.replace("=Test", "=Stop").replace("&MatchedMessageID", "&Other")
    assert up.post(stop) == 200
    address = urlsplit(up.settings["POSTBACKS_CONTACT_URL"]).netloc
    token = up.settings["POSTBACKS_READ_TOKEN"]
    found = asyncio.run(wait_for_answer(address, time.time(), number="17575449511", token=token))
    assert (found["account"], found["verdict"]) == ("default", "opted_out")

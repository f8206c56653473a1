"""`POST /submission/TOKEN` on Kafka: what is durable, what is rejected, who may post."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.postback import POSTBACK_TOPICS, key_of
from gateway.rejected import REJECTED, decode_rejected
from gateway.sink import Durability, Unavailable
from gateway.store_answers import DESCRIBED, PAGE_SIZE, store_answers
from gateway.submission import SUBMISSIONS, decode_submission, submission_key
from tests.support.answers import JSON_ANSWER, MESSAGE_ID, XML_ANSWER, answer, as_json, as_xml, refusal
from tests.support.gateway import (
    RunningGateway,
    find_record,
    open_gateway,
    post,
    request,
    sent_form,
    wait_for_status,
)
from tests.support.kafka import ApacheKafka, frozen, wipe
from tests.support.samples import raw_request
from tests.support.spool import free_kafka_address
from tests.support.wait import eventually
from tests.support.workload import read_all

PATH = "/submission"
TOKEN = "a-token-of-acme"


@pytest.fixture
def gateway(fresh_kafka: str) -> Iterator[RunningGateway]:
    with open_gateway(fresh_kafka) as gateway:
        yield gateway


async def test_submission_shares_the_partition_of_its_postbacks(
    gateway: RunningGateway, fresh_kafka: str
) -> None:
    ids = [str(uuid4()) for _ in range(30)]
    response = await post(gateway.address, as_json([answer(MessageID=each) for each in ids]), PATH)
    assert (response.status, response.body) == (200, b"Kept\n")
    for each in ids:
        assert (await post(gateway.address, sent_form(each))).status == 200

    submissions, sent = (
        await read_all(fresh_kafka, SUBMISSIONS),
        await read_all(fresh_kafka, POSTBACK_TOPICS[0]),
    )
    assert {record.key for record in submissions} == {key_of("default", each) for each in ids}
    assert {(r.key, r.partition) for r in submissions} == {(r.key, r.partition) for r in sent}
    assert len({record.partition for record in submissions}) > 1
    name = 'postbacks_gateway_requests_total{answer="200",type="submission"}'
    assert gateway.samples()[name] == 1


@pytest.mark.parametrize("body", [JSON_ANSWER, XML_ANSWER])
async def test_documented_answer_is_stored_as_received(
    gateway: RunningGateway, fresh_kafka: str, body: bytes
) -> None:
    for _ in range(2):
        assert (await post(gateway.address, body, f"{PATH}?campaign=42")).status == 200
    records = await read_all(fresh_kafka, SUBMISSIONS)
    one, other = (decode_submission(record.value) for record in records)
    assert (one.body.encode(), one.query, one.client_ip) == (body, "campaign=42", "127.0.0.1")
    assert one.event_id == other.event_id
    assert {record.key for record in records} == {f"default/{MESSAGE_ID}".encode()}


async def test_unusable_answers_are_rejected_one_by_one(gateway: RunningGateway, fresh_kafka: str) -> None:
    slices = [as_json(answer()), b'{"odd" : 1}', as_json(refusal(ReferenceID="r")), b"7"]
    response = await post(gateway.address, b"[" + b" , ".join(slices) + b"]", PATH)
    assert response.status == 200
    assert response.body.decode().splitlines() == [
        "Kept 2 of 4",
        "2: There is no SMSError in it",
        "4: There is no SMSError in it",
    ]
    stored = [decode_submission(record.value) for record in await read_all(fresh_kafka, SUBMISSIONS)]
    assert {each.body.encode() for each in stored} == {slices[0], slices[2]}
    for each in (slices[1], slices[3]):
        topic, _, value = await find_record(fresh_kafka, body=each.decode())
        assert (topic, value["reason"], value["account"]) == (REJECTED, "no_submission", "default")


async def test_body_without_a_usable_answer_gets_400(gateway: RunningGateway, fresh_kafka: str) -> None:
    slices = [b'{"odd":1}', b"<A><B/><C>1</C></A>"]
    for body in (b"[" + slices[0] + b"]", slices[1]):
        assert (await post(gateway.address, body, PATH)).status == 400
    for part in ('{"odd":1}', "<B/>", "<C>1</C>"):
        _, _, value = await find_record(fresh_kafka, body=part)
        assert value["reason"] == "no_submission"
    misdirected = sent_form()
    response = await post(gateway.address, misdirected, PATH)
    assert (response.status, response.body[:30]) == (400, b"It must be JSON or XML: JSON i")
    _, _, value = await find_record(fresh_kafka, body=misdirected.decode())
    assert value["reason"] == "undecodable_submission"
    assert await read_all(fresh_kafka, SUBMISSIONS) == []


async def test_answers_are_spooled_while_kafka_is_unresponsive(
    apache_kafka: ApacheKafka, fresh_kafka: str, tmp_path: Path
) -> None:
    ids = [str(uuid4()) for _ in range(20)]
    body = as_json([*(answer(MessageID=each) for each in ids), {"odd": 1}])
    with open_gateway(fresh_kafka, data=tmp_path, ack_timeout=0.5) as gateway:
        async with frozen(apache_kafka.nodes[0]):
            response = await post(gateway.address, body, PATH)
            assert (response.status, response.body[:13]) == (202, b"Kept 20 of 21")
            assert (await post(gateway.address, b"nothing", PATH)).status == 400
            gateway.process.kill()
    await wipe(fresh_kafka)  # it may have stored the records after it resumed
    with open_gateway(fresh_kafka, data=tmp_path) as gateway:
        await eventually(lambda: gateway.metric("postbacks_gateway_spool_records") == 0, "spool empty")
        keys = [record.key for record in await read_all(fresh_kafka, SUBMISSIONS)]
        assert sorted(keys) == sorted(key_of("default", each) for each in ids)
        rejected = [decode_rejected(record.value) for record in await read_all(fresh_kafka, REJECTED)]
        assert {each.body for each in rejected} == {'{"odd": 1}', "nothing"}


async def test_full_spool_answers_503(tmp_path: Path) -> None:
    kafka = free_kafka_address()
    with open_gateway(kafka, data=tmp_path, ack_timeout=0.5, spool_bytes=2**20) as gateway:
        body = as_json([answer(ReferenceID=str(number) + "x" * 300) for number in range(100)])
        raw = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        await wait_for_status(503, gateway.address, raw)
        assert (await request(gateway.address, raw)).headers["retry-after"] == "5"


async def test_admission_is_that_of_postbacks(kafka: str, tmp_path: Path) -> None:
    await wipe(kafka)
    accounts = tmp_path / "accounts.toml"
    accounts.write_text(
        f"[acme]\ntokens = ['{TOKEN}']\nrate = 0.01\nburst = 3\n"
        "[far]\ntokens = ['far-token']\nnetworks = ['203.0.113.0/24']\n"
    )
    with open_gateway(kafka, tokens=accounts) as gateway:
        others = [
            PATH,
            f"{PATH}/x{TOKEN}",
            f"{PATH}s/{TOKEN}",
            f"{PATH}{TOKEN}",
            f"{PATH}/far-token",
            "/else",
        ]
        responses = [await post(gateway.address, JSON_ANSWER, path) for path in others]
        assert {response.status for response in responses} == {404}
        assert len({(each.body, *(each.headers.keys() - {"date"})) for each in responses}) == 1

        url = f"{PATH}/{TOKEN}"
        got = await request(gateway.address, f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (got.status, got.headers["allow"]) == (405, "POST")
        assert (await post(gateway.address, as_json(answer(ReferenceID="acme's")), url)).status == 200
        assert (await post(gateway.address, b" " * 65_537, url)).status == 413
        assert (await post(gateway.address, sent_form(), f"/postback/{TOKEN}")).status == 200
        assert (await post(gateway.address, JSON_ANSWER, url)).status == 429, "both share the account's rate"
        _, key, value = await find_record(kafka, reference_id="acme's")
        assert (key, value["account"]) == (key_of("acme", MESSAGE_ID), "acme")
        assert TOKEN not in str(value)


# -- without a gateway process


class RecordingSink:
    """A sink that stores records in memory, and rejects those whose value contains `refused`."""

    unavailable_reason: str | None = None

    def __init__(self, refused: bytes = b"\0", spooled: bytes = b"\0") -> None:
        self.refused, self.spooled = refused, spooled
        self.records: list[tuple[str, bytes, bytes]] = []

    async def put(self, topic: str, key: bytes, value: bytes) -> Durability:
        if self.refused in value:
            raise Unavailable("its partition has no leader")
        self.records.append((topic, key, value))
        return Durability.SPOOLED if self.spooled in value else Durability.REPLICATED


ANSWERS = [answer(ReferenceID=f"r{number}") for number in range(PAGE_SIZE + 5)]


@pytest.mark.parametrize("refused", [b"r0", f"r{PAGE_SIZE + 4}".encode(), b"no_submission"])
async def test_one_unstored_record_fails_the_whole_request(refused: bytes) -> None:
    body = as_json([*ANSWERS, {"odd": 1}])
    with pytest.raises(Unavailable):
        await store_answers(raw_request(body), RecordingSink(refused=b'"' + refused + b'"'), lambda: "1")


async def test_one_spooled_record_makes_the_request_spooled() -> None:
    request = raw_request(as_json([*ANSWERS, {"odd": 1}]))
    for spooled in (b'"r0"', b'"no_submission"'):
        stored = await store_answers(request, RecordingSink(spooled=spooled), lambda: "1")
        assert stored.durability is Durability.SPOOLED
    assert (await store_answers(request, RecordingSink(), lambda: "1")).durability is Durability.REPLICATED


async def test_repeated_request_stores_equal_submissions() -> None:
    sink = RecordingSink()
    for _ in range(2):
        await store_answers(raw_request(as_json(ANSWERS)), sink, lambda: "1")
    values = [decode_submission(value) for _, _, value in sink.records]
    assert values[: len(ANSWERS)] == values[len(ANSWERS) :]
    assert [key for _, key, _ in sink.records] == [submission_key(value) for value in values]


async def test_repeated_unusable_answer_is_one_rejection() -> None:
    sink = RecordingSink()
    for _ in range(2):
        await store_answers(raw_request(as_json([answer(), 7, 7])), sink, lambda: "random")
    rejected = [decode_rejected(value) for topic, _, value in sink.records if topic == REJECTED]
    ids = [each.rejection_id for each in rejected]
    assert ids[:2] == ids[2:]
    assert [each.partition("/")[2] for each in ids] == ["1", "2"] * 2


async def test_failure_of_the_parser_names_the_endpoint() -> None:
    class Breaking(bytes):
        def startswith(self, *_: object) -> bool:
            raise RuntimeError("as a bug would")

    sink = RecordingSink()
    stored = await store_answers(raw_request(Breaking(b"[]")), sink, lambda: "random")
    (rejected,) = [decode_rejected(value) for _, _, value in sink.records]
    assert stored.durability is None
    assert (rejected.reason, rejected.body, rejected.rejection_id) == ("submission_failure", "[]", "random")


async def test_response_describes_some_rejected_answers() -> None:
    stored = await store_answers(raw_request(as_json([answer(), *range(99)])), RecordingSink(), lambda: "1")
    lines = stored.text.splitlines()
    assert (lines[0], len(lines), lines[-1]) == ("Kept 1 of 100", DESCRIBED + 2, f"and {99 - DESCRIBED} more")


async def test_response_says_why_the_request_is_unused() -> None:
    body = as_json({"request": {"odd": 1}, "response": answer()})
    stored = await store_answers(raw_request(body), RecordingSink(), lambda: "1")
    assert stored.text == "Kept\nWithout the request: there is no Message in it"


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"0," * 130_000 + b"0]",
        b"<a>" + b"<b/>" * 65_000 + b"</a>",
        b"<a><b>" + b"&lt;" * 65_000 + b"</b></a>",
        b"[" + b'{"SMSError":1},' * 1_999 + b'{"SMSError":1}]',
        as_json(
            {
                "request": {"Message": "\x01" * 9_999, "ReferenceID": "x" * 99_999},
                "response": [{"SMSError": 1}] * 1_999,
            }
        ),
        b"{" + b'"a":{},' * 36_000 + b'"b":1}',
        b"<a>" + as_xml(answer()) * 900 + b"</a>",
    ],
    ids=range(7),
)
async def test_largest_bodies_cost_less_than_two_seconds(body: bytes) -> None:
    assert len(body) < 2**18 + 2**14
    sink, began = RecordingSink(), time.process_time()
    await store_answers(raw_request(body), sink, lambda: "1")
    assert time.process_time() - began < 2
    assert sink.records

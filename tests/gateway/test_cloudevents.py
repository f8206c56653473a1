"""CloudEvents headers, by which tools route postbacks without decoding them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs.generate import examples
from gateway.kafka.cloudevents import headers_of
from gateway.postback import POSTBACK_TOPICS, Response, decode, encode
from gateway.rejected import REJECTED
from gateway.submission import SUBMISSIONS, decode_submission
from tests.support.gateway import open_gateway, post
from tests.support.samples import RECEIVED_AT, SENT
from tests.support.workload import read_all


@pytest.mark.parametrize("topic", POSTBACK_TOPICS)
def test_headers_carry_id_type_source_and_time(topic: str) -> None:
    _, value = examples.records()[topic]
    postback = decode(topic, value)
    assert dict(headers_of(topic, value)) == {
        "ce_specversion": b"1.0",
        "ce_type": topic.encode(),
        "ce_source": b"/postbacks/gateway",
        "ce_id": postback.event_id.encode(),
        "ce_time": postback.received_at.encode(),
        "content-type": b"application/json",
    }


def test_submission_has_the_headers_of_a_postback() -> None:
    _, value = examples.records()[SUBMISSIONS]
    headers, submission = dict(headers_of(SUBMISSIONS, value)), decode_submission(value)
    assert headers["ce_type"] == b"submissions"
    assert headers["ce_id"] == submission.event_id.encode()
    assert headers["ce_time"] == submission.received_at.encode()


FORGED = ',"event_id":"0000","received_at":"1970'
TEXTS = st.text() | st.just(FORGED) | st.text().map(lambda text: text + FORGED + text)


@given(TEXTS, TEXTS, st.dictionaries(st.text() | st.just("event_id"), TEXTS))
def test_sender_cannot_forge_a_header(text: str, reference: str, extra: dict[str, str]) -> None:
    postback = Response(
        event_id="e" * 32,
        message_id="9a35e913-ded0-7574-4642-5f60c550c706",
        account="acme",
        reference_id=reference,
        from_number="1",
        to_number="2",
        occurred_at=None,
        received_at=RECEIVED_AT,
        client_ip="203.0.113.7",
        query=text,
        body=text,
        extra=extra,
        reply_id=None,
        matched=False,
        text=text,
    )
    headers = dict(headers_of("postbacks.response", encode(postback)))
    assert (headers["ce_id"], headers["ce_time"]) == (b"e" * 32, RECEIVED_AT.encode())


@pytest.mark.parametrize("value", [b"", b"{}", b'{,"event_id":"x"}', b'{,"received_at":"x"}'])
def test_other_records_have_no_headers(value: bytes) -> None:
    assert headers_of("postbacks.sent", value) == []
    assert headers_of(REJECTED, examples.records()[REJECTED][1]) == []


@pytest.mark.parametrize(("setting", "count"), [("on", 6), ("off", 0)])
async def test_setting_turns_headers_off(fresh_kafka: str, setting: str, count: int) -> None:
    with open_gateway(fresh_kafka, cloudevents=setting) as gateway:
        assert (await post(gateway.address, SENT)).status == 200
    (record,) = await read_all(fresh_kafka, "postbacks.sent")
    assert len(record.headers) == count
    assert list(record.headers) == (headers_of("postbacks.sent", record.value) if count else [])

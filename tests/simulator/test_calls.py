"""The calls that the simulated provider takes, its answers, and its rules."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from random import Random

import pytest
from msgspec import json

from gateway.sms_errors import SMS_ERRORS
from sending.answers import decode_answers
from sending.sms import OutgoingSms, encode_advanced, simple_parameters
from simulator.behaviour import Drop, Odds, Verdict, judge
from simulator.calls import InvalidCall, SendRequest, encode_answers, read_advanced, read_simple
from simulator.connection import Target

URL = "http://127.0.0.1:8080/postback/TOKEN"
NUMBER = "17575449510"


def send(number: str = NUMBER, reference_id: str = "", text: str = "Hi", key: str = "key") -> SendRequest:
    return SendRequest(number, text, key, reference_id=reference_id)


def test_call_of_the_client_is_read_unchanged() -> None:
    at = datetime(2030, 1, 1, 12, 30, tzinfo=UTC)
    (read,) = read_advanced(encode_advanced([OutgoingSms(NUMBER, "a/b ä", "74121", "r-1", at, URL)], "key"))
    assert read == SendRequest(NUMBER, "a/b ä", "key", "74121", "r-1", at, "", Target(URL))
    (simple,) = read_simple(simple_parameters(OutgoingSms(NUMBER, "Hi", status_postback_url=URL), "key"))
    assert simple == SendRequest(NUMBER, "Hi", "key", target=Target(URL))


def test_each_number_of_each_request_is_one_message() -> None:
    requests = [{"PhoneNumbers": ["1", "2"], "Message": "a"}, {"PhoneNumbers": ["3"], "Message": "b"}]
    read = read_advanced(json.encode({"LicenseKey": "key", "SMSRequests": requests}))
    assert [(each.to_number, each.text) for each in read] == [("1", "a"), ("2", "a"), ("3", "b")]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"nonsense", "JSON is malformed"),
        (b"[" * 100_000, "must be the JSON"),
        (b"[]", "Expected `object`"),
        (b'{"LicenseKey":"k"}', "SMSRequests"),
        (b'{"LicenseKey":"k","SMSRequests":[]}', "at least one PhoneNumber"),
        (b'{"LicenseKey":"k","SMSRequests":[{"PhoneNumbers":[7],"Message":""}]}', "PhoneNumbers"),
        (
            b'{"LicenseKey":"k","SMSRequests":[{"PhoneNumbers":["7"],"Message":"","StatusPostBackURL":"x"}]}',
            "StatusPostBackURL: must be http",
        ),
    ],
)
def test_invalid_call_names_the_field(body: bytes, problem: str) -> None:
    with pytest.raises(InvalidCall, match=problem):
        read_advanced(body)


def test_answers_are_read_by_the_client() -> None:
    message_id = "9a35e913-ded0-7574-4642-5f60c550c706"
    queued, refused = decode_answers(
        encode_answers([(send(reference_id="a/b"), message_id, 0), (send(), None, 3)], many=True)
    )
    assert (queued.message_id, queued.error, queued.queued, queued.reference_id) == (
        message_id,
        0,
        True,
        "a/b",
    )
    assert (refused.message_id, refused.error, refused.queued) == (None, 3, False)
    assert json.decode(encode_answers([(send(), message_id, 0)], many=False))["MessageID"] == message_id


@pytest.mark.parametrize("error", [error.number for error in SMS_ERRORS])
def test_every_error_is_given_on_demand(error: int) -> None:
    by_reference = judge(send(reference_id=f"order-7 error-{error}"), Odds(), Random(1))
    by_number = judge(send(f"175755501{error:02d}"), Odds(refused=1), Random(1))
    assert by_reference == by_number == Verdict(error)


@pytest.mark.parametrize(
    ("reference_id", "number", "verdict"),
    [
        ("drop-before", "17575550120", Verdict(drop=Drop.BEFORE)),
        ("drop-after", "17575550121", Verdict(drop=Drop.AFTER)),
        ("silent", "7575550122", Verdict(silent=True)),
        ("x.delay-2", "17575550132", Verdict(delay=2)),
    ],
)
def test_reference_or_number_decides(reference_id: str, number: str, verdict: Verdict) -> None:
    assert judge(send(reference_id=reference_id), Odds(), Random(1)) == verdict
    assert judge(send(number), Odds(), Random(1)) == verdict


def test_rules_of_a_reference_are_combined() -> None:
    verdict = judge(send(reference_id="error-99,drop-after,delay-0.5"), Odds(), Random(1))
    assert verdict == Verdict(99, Drop.AFTER, delay=0.5)


@pytest.mark.parametrize("reference_id", ["", "terror-3", "send-3e34229980b0a0d6d27c", "error-3x", "drop-in"])
def test_other_references_are_no_rules(reference_id: str) -> None:
    assert judge(send(reference_id=reference_id), Odds(), Random(1)) == Verdict()


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (send(key=""), 2),
        (send("12345"), 3),
        (send("+17575449510"), 3),
        (send(text=" "), 4),
    ],
)
def test_unacceptable_request_gets_its_error(request_: SendRequest, error: int) -> None:
    assert judge(request_, Odds(), Random(1)) == Verdict(error)


def test_schedule_that_is_not_utc_is_refused() -> None:
    def error(at: str) -> int:
        request = {"PhoneNumbers": [NUMBER], "Message": "Hi", "ScheduledDateTime": at}
        (read,) = read_advanced(json.encode({"LicenseKey": "key", "SMSRequests": [request]}))
        return judge(read, Odds(), Random(1)).error

    assert [error(at) for at in ("", "2030-01-01T12:00:00Z", "/Date(1893456000000-0500)/")] == [0, 0, 0]
    assert [error(at) for at in ("2030-01-01T12:00:00", "2030-01-01T12:00:00+02:00", "soon")] == [5, 5, 5]


def test_chance_follows_the_shares() -> None:
    rng, odds = Random(1), Odds(refused=0.2, dropped=0.1, silent=0.05, delay=2)
    verdicts = [judge(send(), odds, rng) for _ in range(10_000)]
    assert 1_800 < sum(verdict.error != 0 for verdict in verdicts) < 2_200
    assert {verdict.error for verdict in verdicts} == {error.number for error in SMS_ERRORS}
    drops = Counter(verdict.drop for verdict in verdicts)
    assert all(400 < drops[drop] < 600 for drop in Drop)
    assert 400 < sum(verdict.silent for verdict in verdicts) < 600
    assert 0.9 < sum(verdict.delay for verdict in verdicts) / 10_000 < 1.1

"""The simulated provider's scenarios and wire format; its fold agrees with the pipeline's."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random

import pytest

from gateway.parsing.postback import parse
from gateway.postback import Response
from simulator.customer import LONG_NUMBERS, SHORT_CODES, Customer
from simulator.ledger import Ledger
from simulator.postback import Message, SimulatedPostback, escape, receipt, receipt_text, reply, sent, us_date
from simulator.traffic import traffic
from streams.merge import merge
from streams.message import Message as State
from tests.support.samples import RECEIPT, RESPONSE, SENT, raw_request

BEGAN = datetime(2026, 11, 23, 12, tzinfo=UTC)


def postbacks(count: int, seed: int = 1) -> list[SimulatedPostback]:
    return list(islice(traffic(seed, 200, lambda number: BEGAN + timedelta(seconds=number)), count))


def test_bodies_equal_the_documented_examples() -> None:
    at = datetime(2010, 5, 8, 2, 42, 36, tzinfo=UTC)
    outgoing = Message("9a35e913-ded0-7574-4642-5f60c550c706", "12345", "17575449510", "17575449511")
    assert sent(outgoing, at).body == SENT
    replied = Message("11111111-2222-1111-2222-000000000004", "", "17575449511", "17575449510")
    assert reply(replied, "9a35e913-ded0-7574-4642-5f60c550c706", "Test", at).body == RESPONSE
    done = datetime(2012, 9, 28, 13, 34, tzinfo=UTC)
    text = receipt_text(18579674100201040, "DELIVERED TO CARRIER", "003", done, done)
    delivered = Message("f880e00b-3a14-484c-80e7-ca6aa29a2f7a", "", "74121", "17572373369")
    assert receipt(delivered, "003", text).body == RECEIPT


@pytest.mark.parametrize(
    ("hour", "expected"), [(0, "12:05:09 AM"), (11, "11:05:09 AM"), (12, "12:05:09 PM"), (23, "11:05:09 PM")]
)
def test_dates_are_in_us_format(hour: int, expected: str) -> None:
    assert us_date(datetime(2026, 1, 2, hour, 5, 9, tzinfo=UTC)) == f"1/2/2026 {expected}"


def test_escapes_are_lower_case_utf_8() -> None:
    assert escape("5:30 & 2=1 + ä") == "5%3a30+%26+2%3d1+%2b+%c3%a4"


def test_traffic_is_determined_by_the_seed() -> None:
    assert postbacks(500) == postbacks(500)
    assert postbacks(500) != postbacks(500, seed=2)


def test_traffic_covers_all_documented_cases() -> None:
    generated = postbacks(20_000)
    kinds = Counter(postback.kind for postback in generated)
    assert set(kinds) == {"sent", "refused", "receipt", "reply", "inbound"}
    assert {"000", "003", "004", "091", "747"} <= {postback.code for postback in generated}
    bodies = [postback.body.decode() for postback in generated]
    assert len(set(bodies)) < len(bodies)  # duplicates
    for part in (
        *("MatchedMessageID=&", "MatchedMessageID=00000000-0000-0000-0000-000000000000&"),
        *("MatchedMessageID=00000000-0000-0000-0000-00000000000&", "BackupMessageID=", "%f0%9f%a4%94"),
        *("FromPhoneNumber=74121", "FromPhoneNumber=17575449510", "ReferenceID=send-", "ReferenceID=&"),
        *("err:000 text:&Code=003", "DeliveredToDevice"),
    ):
        assert any(part in body for body in bodies), part
    assert any("SMSResponse=1" in body and "MatchedMessageID" not in body for body in bodies)
    orders: dict[str, list[str]] = {}
    for postback in generated:
        orders.setdefault(postback.message_id, []).append(postback.code or postback.kind)
    assert ["sent", "000", "003"] in orders.values()
    assert ["refused", "refused", "refused"] in orders.values()
    assert ["sent", "reply", "reply"] in orders.values()


def test_people_write_to_numbers_that_answer() -> None:
    customer = Customer.with_answers(["7575449510", "2025550123", "40404"], ["HOURS", "OPEN"])
    assert customer.short_codes == (*SHORT_CODES, "40404")
    assert customer.long_numbers == (*LONG_NUMBERS, "2025550123")
    generated = islice(traffic(1, 200, lambda _: BEGAN, customer), 20_000)
    responses = [parse(raw_request(each.body)) for each in generated if each.kind in ("reply", "inbound")]
    written = {(each.to_number, each.text) for each in responses if isinstance(each, Response)}
    assert {("40404", "HOURS"), ("2025550123", "OPEN?"), ("74121", "HELP"), ("40404", "STOP")} <= written


def test_ledger_agrees_with_the_pipeline_in_any_order() -> None:
    generated = postbacks(20_000)
    Random(3).shuffle(generated)
    ledger = Ledger()
    states: dict[str, State] = {}
    events = set()
    types: Counter[str] = Counter()
    for simulated in generated:
        ledger.record(simulated, 200)
        postback = parse(raw_request(simulated.body))
        assert postback.message_id == simulated.message_id
        states[postback.message_id] = merge(states.get(postback.message_id), postback)
        if postback.event_id not in events:
            types[type(postback).__name__.lower()] += 1
        events.add(postback.event_id)
    report = ledger.report(1.0)
    assert report.events == len(events)
    assert report.types == types
    assert report.messages == len(states)
    assert report.statuses == Counter(state.status for state in states.values())
    assert set(report.statuses) == {
        *("delivered", "failed", "in_transit", "sent", "cancelled", "retrying", "received", "unknown")
    }


def test_unacknowledged_postbacks_are_unsure_and_not_counted() -> None:
    first, second, third = postbacks(3)
    ledger = Ledger()
    for postback, status in ((first, None), (first, 503), (first, 202), (second, None), (third, 400)):
        ledger.record(postback, status)
    report = ledger.report(2.0)
    assert report.answers == {"none": 2, "202": 1, "400": 1, "503": 1}
    assert (report.posts, report.events, report.unsure, report.rate) == (5, 1, 1, 2.5)
    assert report.acknowledged == {"202": 1}


def test_refused_postbacks_are_counted_apart() -> None:
    first, second, third = postbacks(3)
    ledger = Ledger()
    for postback, status in (
        *((first, 404), (first, 404), (second, 404), (second, 503)),
        *((third, 429), (third, 200)),
    ):
        ledger.record(postback, status)
    report = ledger.report(1.0)
    assert (report.events, report.unsure, report.refused) == (1, 1, 1)


def test_memory_of_the_ledger_is_bounded() -> None:
    generated, ledger = postbacks(12_000), Ledger()
    tracemalloc.start()
    try:
        for postback in generated[:2_000]:
            ledger.record(postback, 200)
        before, _ = tracemalloc.get_traced_memory()
        for postback in generated[2_000:]:
            ledger.record(postback, 200)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 100_000, "10 bytes per postback: nothing is kept of each"
    assert ledger.report(1.0).events > 11_000


def test_duplicate_counts_once_by_its_first_2xx() -> None:
    (postback,) = postbacks(1)
    ledger = Ledger()
    for status in (202, 200, 503):
        ledger.record(postback, status)
    report = ledger.report(1.0)
    assert (report.events, report.acknowledged, report.unsure) == (1, {"202": 1}, 0)
    assert ["distinct", "events", "acknowledged", "1"] in [
        line.split() for line in report.as_table().splitlines()
    ]

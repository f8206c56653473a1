"""The simulated provider's stories and bytes; and that its own plain fold agrees with the pipeline's."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random

import pytest

from gateway.parsing.postback import parse
from simulator.ledger import Ledger
from simulator.postback import Message, SimulatedPostback, escape, receipt, receipt_text, reply, sent, us_date
from simulator.traffic import traffic
from streams.message import Message as State
from streams.message import merge
from tests.support.samples import RECEIPT, RESPONSE, SENT, arrival

BEGAN = datetime(2026, 11, 23, 12, tzinfo=UTC)


def packets(count: int, seed: int = 1) -> list[SimulatedPostback]:
    return list(islice(traffic(seed, 200, lambda number: BEGAN + timedelta(seconds=number)), count))


def test_the_packets_that_the_provider_prints_are_made_byte_by_byte() -> None:
    at = datetime(2010, 5, 8, 2, 42, 36, tzinfo=UTC)
    of_sent = Message("9a35e913-ded0-7574-4642-5f60c550c706", "12345", "17575449510", "17575449511")
    assert sent(of_sent, at).body == SENT
    answered = Message("11111111-2222-1111-2222-000000000004", "", "17575449511", "17575449510")
    assert reply(answered, "9a35e913-ded0-7574-4642-5f60c550c706", "Test", at).body == RESPONSE
    done = datetime(2012, 9, 28, 13, 34, tzinfo=UTC)
    text = receipt_text(18579674100201040, "DELIVERED TO CARRIER", "003", done, done)
    carried = Message("f880e00b-3a14-484c-80e7-ca6aa29a2f7a", "", "74121", "17572373369")
    assert receipt(carried, "003", text).body == RECEIPT


@pytest.mark.parametrize(
    ("hour", "written"), [(0, "12:05:09 AM"), (11, "11:05:09 AM"), (12, "12:05:09 PM"), (23, "11:05:09 PM")]
)
def test_dates_are_american(hour: int, written: str) -> None:
    assert us_date(datetime(2026, 1, 2, hour, 5, 9, tzinfo=UTC)) == f"1/2/2026 {written}"


def test_escapes_are_lower_case_and_of_utf_8() -> None:
    assert escape("5:30 & 2=1 + ä") == "5%3a30+%26+2%3d1+%2b+%c3%a4"


def test_the_same_seed_tells_the_same_stories_and_another_one_others() -> None:
    assert packets(500) == packets(500)
    assert packets(500) != packets(500, seed=2)


def test_some_thousand_stories_meet_all_that_the_documents_speak_of() -> None:
    told = packets(20_000)
    kinds = Counter(packet.kind for packet in told)
    assert set(kinds) == {"sent", "refused", "receipt", "reply", "inbound"}
    assert {"000", "003", "004", "091", "747"} <= {packet.code for packet in told}
    bodies = [packet.body.decode() for packet in told]
    assert len(set(bodies)) < len(bodies)  # repeats
    for trait in (
        *("MatchedMessageID=&", "MatchedMessageID=00000000-0000-0000-0000-000000000000&"),
        *("MatchedMessageID=00000000-0000-0000-0000-00000000000&", "BackupMessageID=", "%f0%9f%a4%94"),
        *("FromPhoneNumber=74121", "FromPhoneNumber=17575449510", "ReferenceID=send-", "ReferenceID=&"),
        *("err:000 text:&Code=003", "DeliveredToDevice"),
    ):
        assert any(trait in body for body in bodies), trait
    assert any("SMSResponse=1" in body and "MatchedMessageID" not in body for body in bodies)
    orders: dict[str, list[str]] = {}
    for packet in told:
        orders.setdefault(packet.message_id, []).append(packet.code or packet.kind)
    assert ["sent", "000", "003"] in orders.values()
    assert ["refused", "refused", "refused"] in orders.values()
    assert ["sent", "reply", "reply"] in orders.values()


def test_its_fold_of_what_was_acknowledged_is_the_pipelines_in_any_order() -> None:
    told = packets(20_000)
    Random(3).shuffle(told)
    ledger = Ledger()
    states: dict[str, State] = {}
    events = set()
    types: Counter[str] = Counter()
    for packet in told:
        ledger.enter(packet, 200)
        postback = parse(arrival(packet.body))
        assert postback.message_id == packet.message_id
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


def test_what_was_never_acknowledged_is_not_counted_but_may_be_there() -> None:
    first, second, third = packets(3)
    ledger = Ledger()
    for packet, status in ((first, None), (first, 503), (first, 202), (second, None), (third, 400)):
        ledger.enter(packet, status)
    report = ledger.report(2.0)
    assert report.answers == {"none": 2, "202": 1, "400": 1, "503": 1}
    assert (report.posts, report.events, report.unsure, report.rate) == (5, 1, 1, 2.5)
    assert report.acknowledged == {"202": 1}


def test_a_postback_that_is_repeated_counts_once_by_its_first_answer() -> None:
    (packet,) = packets(1)
    ledger = Ledger()
    for status in (202, 200, 503):
        ledger.enter(packet, status)
    report = ledger.report(1.0)
    assert (report.events, report.acknowledged, report.unsure) == (1, {"202": 1}, 0)
    assert ["distinct", "events", "acknowledged", "1"] in [
        line.split() for line in report.as_table().splitlines()
    ]

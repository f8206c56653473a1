"""The responses that one poll returns."""

from __future__ import annotations

from streams.responder.batch import group_by_handset
from tests.support.auto_responses import response


def test_texts_of_a_handset_are_in_order() -> None:
    first, second = response("first", "a1", 1), response("second", "a2", 2)
    written_alike = response("third", "a3", 3, from_number="(757) 555-0100")
    other = response(event_id="a4", from_number="14045550199")
    elsewhere = response(event_id="a5", account="other")
    found = group_by_handset([written_alike, other, second, elsewhere, first])
    assert max(found, key=len) == [first, second, written_alike]
    assert sorted(map(len, found)) == [1, 1, 3]

"""Records of automatic responses: round trip, limits, and a join in which order does not matter."""

from __future__ import annotations

from functools import reduce
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import DecodeError
from msgspec.structs import replace

from streams.auto_response import (
    AutoResponse,
    auto_response_key,
    decode_auto_response,
    encode_auto_response,
    join_auto_responses,
)
from streams.versions import NewerVersion
from tests.support.auto_responses import OUTCOMES, auto_response, auto_responses


@given(auto_responses())
def test_records_round_trip(record: AutoResponse) -> None:
    assert decode_auto_response(encode_auto_response(record)) == record


def test_key_is_that_of_the_handset() -> None:
    assert auto_response_key(auto_response()) == b"acme/7575550100"


@pytest.mark.parametrize(
    "invalid", [{"at": "now"}, {"received_at": ""}, {"occurred_at": "2"}, {"attempt": ""}]
)
def test_record_against_the_contract_is_refused(invalid: dict[str, str]) -> None:
    with pytest.raises(DecodeError):
        decode_auto_response(encode_auto_response(replace(auto_response(), **invalid)))


def test_newer_version_is_refused() -> None:
    with pytest.raises(NewerVersion):
        decode_auto_response(encode_auto_response(replace(auto_response(), version=2)))


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_best_known_outcome_counts(order: tuple[int, ...]) -> None:
    for lower in range(len(OUTCOMES) - 2):
        told = [auto_response(outcome=OUTCOMES[lower + index], second=index) for index in range(3)]
        assert reduce(join_auto_responses, (told[index] for index in order)) == told[2]


def test_earliest_of_one_outcome_counts() -> None:
    first, second = auto_response(second=1), auto_response(second=2, attempt="x0")
    assert join_auto_responses(first, second) == join_auto_responses(second, first) == first


@given(st.lists(auto_responses(events=1), min_size=1, max_size=6), st.randoms())
def test_join_does_not_depend_on_order(records: list[AutoResponse], random: object) -> None:
    joined = reduce(join_auto_responses, records)
    shuffled = sorted([*records, *records], key=lambda _: random.random())  # type: ignore[attr-defined]
    assert reduce(join_auto_responses, shuffled) == joined

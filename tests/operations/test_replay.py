"""The records of a key are joined: a stale state, wherever it lands in the log, takes nothing away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.postback import AnyPostback
from streams.message import VERSION, NewerVersion, encode_message, merge, state_of
from streams.state.changelog import Restored, merge_foreign, restore
from tests.support.postbacks import postbacks, receipt, sent

KEY = b"acme/message"


def told(*story: AnyPostback) -> bytes:
    """The state after these postbacks, encoded."""
    state = None
    for postback in story:
        state = merge(state, postback)
    assert state
    return encode_message(state)


POOR, RICH = told(sent()), told(sent(), receipt())
OTHER = told(receipt("r2", code="000"))
BOTH = told(sent(), receipt("r2", code="000"))


def test_states_that_grow_come_to_the_last_one() -> None:
    assert restore([(KEY, POOR), (KEY, RICH)], {}) == Restored({KEY: RICH}, set())


def test_a_stale_state_that_came_last_is_joined_and_said_again() -> None:
    assert restore([(KEY, RICH), (KEY, POOR)], {}) == Restored({KEY: RICH}, {KEY})


def test_a_stale_state_is_joined_with_what_the_store_knows() -> None:
    assert restore([(KEY, POOR)], {KEY: RICH}) == Restored({KEY: RICH}, {KEY})


def test_two_states_of_which_each_knows_something_come_to_both() -> None:
    assert restore([(KEY, POOR), (KEY, OTHER)], {}) == Restored({KEY: BOTH}, {KEY})


def test_a_tombstone_starts_afresh() -> None:
    assert restore([(KEY, RICH), (KEY, None)], {}) == Restored({KEY: None}, set())
    assert restore([(KEY, None), (KEY, OTHER)], {KEY: RICH}) == Restored({KEY: OTHER}, set())


def test_what_is_no_message_is_passed_over_and_the_state_said_again() -> None:
    assert restore([(KEY, RICH), (KEY, b"?")], {}) == Restored({KEY: RICH}, {KEY})
    assert restore([(KEY, b"?")], {}) == Restored({KEY: None}, {KEY})


def test_a_state_whose_times_are_none_is_no_message() -> None:
    timeless = state_of(sent())
    timeless.last_seen_at = "soon"
    assert restore([(KEY, RICH), (KEY, encode_message(timeless))], {}) == Restored({KEY: RICH}, {KEY})


@pytest.mark.parametrize("records", [[(KEY, POOR)], []])
def test_a_newer_version_is_refused(records: list[tuple[bytes, bytes | None]]) -> None:
    newer = state_of(receipt())
    newer.version = VERSION + 1
    with pytest.raises(NewerVersion):
        restore([*records, (KEY, encode_message(newer))], {})


def test_a_stale_state_of_another_worker_among_ours_is_said_again() -> None:
    assert merge_foreign([(KEY, POOR)], {KEY: RICH}) == Restored({KEY: RICH}, {KEY})
    assert merge_foreign([(KEY, POOR), (KEY, RICH)], {KEY: RICH}) == Restored({KEY: RICH}, set())


def test_a_tombstone_of_another_worker_forgets_nothing_that_we_know() -> None:
    assert merge_foreign([(KEY, None)], {KEY: RICH}) == Restored({KEY: RICH}, {KEY})


def test_our_own_tombstone_stays_one() -> None:
    assert merge_foreign([(KEY, POOR), (KEY, None)], {KEY: None}) == Restored({KEY: None}, set())


@given(st.lists(postbacks, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_partial_states_in_any_order_come_to_the_fold_of_all(story: list[AnyPostback], rnd: object) -> None:
    partial = [told(*story[: n + 1]) for n in range(len(story))] + [told(postback) for postback in story]
    rnd.shuffle(partial)  # type: ignore[attr-defined]
    replayed = restore([(KEY, value) for value in partial], {})
    assert replayed.values == {KEY: told(*story)}
    assert (KEY in replayed.stale) == (partial[-1] != told(*story))

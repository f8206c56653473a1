"""Changelog records of a key are joined: a stale state, wherever it is in the log, loses nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.postback import AnyPostback
from streams.merge import merge, state_of
from streams.message import VERSION, encode_message
from streams.state import changelog
from streams.state.changelog import Restored
from streams.tables import MESSAGES_TABLE
from streams.versions import NewerVersion
from tests.support.postbacks import postbacks, receipt, sent

KEY = b"acme/message"


def restore(*values: bytes | None, known: bytes | None = None) -> Restored:
    return changelog.restore(MESSAGES_TABLE.join, [(KEY, value) for value in values], {KEY: known})


def merge_foreign(*values: bytes | None, known: bytes | None) -> Restored:
    return changelog.merge_foreign(MESSAGES_TABLE.join, [(KEY, value) for value in values], {KEY: known})


def encoded(*events: AnyPostback) -> bytes:
    """The state after these postbacks."""
    state = None
    for postback in events:
        state = merge(state, postback)
    assert state
    return encode_message(state)


POOR, RICH = encoded(sent()), encoded(sent(), receipt())
OTHER = encoded(receipt("r2", code="000"))
BOTH = encoded(sent(), receipt("r2", code="000"))


def test_growing_states_restore_to_the_last() -> None:
    assert restore(POOR, RICH) == Restored({KEY: RICH}, set())


def test_stale_last_record_is_joined_and_reported() -> None:
    assert restore(RICH, POOR) == Restored({KEY: RICH}, {KEY})


def test_stale_record_is_joined_with_store() -> None:
    assert restore(POOR, known=RICH) == Restored({KEY: RICH}, {KEY})


def test_partial_states_join_to_both() -> None:
    assert restore(POOR, OTHER) == Restored({KEY: BOTH}, {KEY})


def test_tombstone_ends_state() -> None:
    assert restore(RICH, None) == Restored({KEY: None}, set())
    assert restore(None, OTHER, known=RICH) == Restored({KEY: OTHER}, set())


def test_undecodable_record_is_skipped_and_key_stale() -> None:
    assert restore(RICH, b"?") == Restored({KEY: RICH}, {KEY})
    assert restore(b"?") == Restored({KEY: None}, {KEY})


def test_record_with_invalid_time_is_skipped() -> None:
    timeless = state_of(sent())
    timeless.last_seen_at = "soon"
    assert restore(RICH, encode_message(timeless)) == Restored({KEY: RICH}, {KEY})


@pytest.mark.parametrize("earlier", [[POOR], []])
def test_newer_version_is_rejected(earlier: list[bytes]) -> None:
    newer = state_of(receipt())
    newer.version = VERSION + 1
    with pytest.raises(NewerVersion):
        restore(*earlier, encode_message(newer))


def test_foreign_stale_record_makes_key_stale() -> None:
    assert merge_foreign(POOR, known=RICH) == Restored({KEY: RICH}, {KEY})
    assert merge_foreign(POOR, RICH, known=RICH) == Restored({KEY: RICH}, set())


def test_foreign_tombstone_does_not_end_known_state() -> None:
    assert merge_foreign(None, known=RICH) == Restored({KEY: RICH}, {KEY})


def test_own_tombstone_among_foreign_records_stays() -> None:
    assert merge_foreign(POOR, None, known=None) == Restored({KEY: None}, set())


@given(st.lists(postbacks, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_partial_states_in_any_order_restore_to_fold(story: list[AnyPostback], rng: object) -> None:
    partial = [encoded(*story[: n + 1]) for n in range(len(story))] + [
        encoded(postback) for postback in story
    ]
    rng.shuffle(partial)  # type: ignore[attr-defined]
    restored = restore(*partial)
    assert restored.values == {KEY: encoded(*story)}
    assert (KEY in restored.stale) == (partial[-1] != encoded(*story))

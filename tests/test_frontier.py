"""Nothing is committed past a batch that was not acknowledged, whatever Faust loses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.frontier import PATIENCE, Frontier

P, Q = "sent-0", "receipt-0"


def frontier(**offsets: int) -> Frontier[str]:
    made: Frontier[str] = Frontier()
    made.begin({name.replace("_", "-"): offset for name, offset in offsets.items()})
    return made


def test_an_unbroken_run_of_batches_moves_it() -> None:
    f = frontier(sent_0=10)
    for start, end in ((10, 15), (15, 16), (16, 40)):
        f.acknowledged(P, start, end, f.delivered(P, end, 0), 0)
    assert f.offsets == {P: 40}
    assert f.missing(0) == {}


def test_a_batch_that_begins_behind_a_hole_does_not_move_it_and_sends_the_consumer_back() -> None:
    f = frontier(sent_0=10)
    f.acknowledged(P, 15, 20, f.delivered(P, 20, 0), 0)
    assert f.offsets == {P: 10}
    assert f.missing(0) == {P: 10}
    assert f.missing(0) == {}, "it is told once"


def test_a_batch_that_comes_twice_does_no_harm() -> None:
    f = frontier(sent_0=10)
    for start, end in ((10, 20), (10, 20), (5, 12)):
        f.acknowledged(P, start, end, f.delivered(P, end, 0), 0)
    assert f.offsets == {P: 20}
    assert f.missing(0) == {}


def test_offsets_without_a_record_are_passed_with_their_batch() -> None:
    f = frontier(sent_0=10)
    f.acknowledged(P, 10, 12, f.delivered(P, 12, 0), 0)
    f.acknowledged(P, 12, 13, f.delivered(P, 13, 0), 0)  # the end of a transaction: no record at all
    assert f.offsets == {P: 13}


def test_a_delivery_that_was_overtaken_is_lost() -> None:
    f = frontier(sent_0=0, receipt_0=0)
    f.delivered(P, 5, now=0)
    f.acknowledged(Q, 0, 3, f.delivered(Q, 3, now=0), now=1)
    assert f.missing(1) == {P: 0}


def test_a_delivery_that_is_being_worked_on_is_not_lost() -> None:
    f = frontier(sent_0=0)
    f.delivered(P, 5, now=0)
    assert f.missing(PATIENCE - 1) == {}


def test_the_last_delivery_is_lost_when_nothing_at_all_was_heard_for_long() -> None:
    f = frontier(sent_0=0)
    f.delivered(P, 5, now=0)
    assert f.missing(PATIENCE + 1) == {P: 0}


def test_patience_begins_anew_with_each_acknowledgement() -> None:
    f = frontier(sent_0=0, receipt_0=0)
    number = f.delivered(Q, 3, now=0)
    f.delivered(P, 5, now=0)
    f.acknowledged(Q, 0, 3, number, now=PATIENCE)
    assert f.missing(PATIENCE + 1) == {}


def test_what_is_not_ours_any_more_is_not_committed() -> None:
    f = frontier(sent_0=0)
    number = f.delivered(P, 5, 0)
    f.begin({})
    f.acknowledged(P, 0, 5, number, 0)
    assert f.offsets == {}
    assert f.missing(1000) == {}


def test_when_kafka_deleted_what_was_not_read_yet_it_goes_on_where_the_log_begins() -> None:
    f = frontier(sent_0=10)
    assert f.truncated(P, 100) == 90
    assert f.truncated(P, 50) == 0
    assert f.offsets == {P: 100}


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans(), st.booleans()), max_size=40))
def test_it_never_passes_a_batch_that_nobody_acknowledged(steps: list[tuple[int, bool, bool]]) -> None:
    """A log of batches is read; some are lost before they are acknowledged, then the consumer goes back."""
    f = frontier(sent_0=0)
    done: set[int] = set()
    position = 0
    for size, lost, look in steps:
        start, end = position, position + size
        position = end
        number = f.delivered(P, end, 0)
        if not lost:
            done |= set(range(start, end))
            f.acknowledged(P, start, end, number, 0)
        if look:
            position = f.missing(0).get(P, position)
        assert set(range(f.offsets[P])) <= done

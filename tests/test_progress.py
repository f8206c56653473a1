"""What is left, up to which time all input is merged, and whether it still moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from streams.progress import Horizon, Standstill, lags

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SENT, RECEIPT = ("sent", 0), ("receipt", 0)
Offsets = dict[tuple[str, int], int]


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_lag_is_never_less_than_nothing() -> None:
    assert lags({SENT: 10, RECEIPT: 3}, {SENT: 4, RECEIPT: 7}) == {SENT: 6, RECEIPT: 0}


def test_with_all_merged_the_horizon_is_now() -> None:
    horizon: Horizon[tuple[str, int]] = Horizon()
    horizon.observe(NOON, {SENT: 5, RECEIPT: 0}, {SENT: 5, RECEIPT: 0})
    assert horizon.of(0) == NOON


def test_it_is_not_known_before_all_topics_of_the_partition_are_merged() -> None:
    horizon: Horizon[tuple[str, int]] = Horizon()
    horizon.observe(NOON, {SENT: 5, RECEIPT: 1}, {SENT: 5, RECEIPT: 0})
    assert horizon.of(0) is None


def test_under_load_it_follows_although_the_end_is_never_reached() -> None:
    horizon: Horizon[tuple[str, int]] = Horizon()
    horizon.observe(NOON, {SENT: 100}, {SENT: 40})
    horizon.observe(after(1), {SENT: 200}, {SENT: 99})
    assert horizon.of(0) is None
    horizon.observe(after(2), {SENT: 300}, {SENT: 150})
    assert horizon.of(0) == NOON, "all that Kafka had at noon is merged"
    horizon.observe(after(3), {SENT: 400}, {SENT: 250})
    horizon.observe(after(4), {SENT: 500}, {SENT: 450})
    assert horizon.of(0) == after(3)


def test_each_partition_has_its_own_and_a_new_assignment_begins_anew() -> None:
    horizon: Horizon[tuple[str, int]] = Horizon()
    done: Offsets = {("sent", 0): 5, ("sent", 1): 5}
    horizon.observe(NOON, {("sent", 0): 5, ("sent", 1): 6}, done)
    assert (horizon.of(0), horizon.of(1)) == (NOON, None)
    horizon.forget()
    assert horizon.of(0) is None


def test_it_stands_still_when_there_is_work_and_nothing_moves() -> None:
    standstill = Standstill()
    assert [standstill.observe(second, "mark", work_left=True) for second in range(4)] == [0, 1, 2, 3]
    assert standstill.observe(4, "another mark", work_left=True) == 0


def test_without_work_nothing_has_to_move() -> None:
    standstill = Standstill()
    assert not any(standstill.observe(second, "mark", work_left=False) for second in range(1000))


def test_a_process_that_was_frozen_did_not_stand_still_meanwhile() -> None:
    standstill = Standstill()
    standstill.observe(0, "mark", work_left=True)
    assert standstill.observe(3600, "mark", work_left=True) == Standstill.LONGEST_STEP

"""No offset is committed before everything below it is done, whichever batches Faust drops."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from streams.transport.commit_tracker import LOST_AFTER, CommitTracker

P, Q = "sent-0", "receipt-0"


def tracker(**offsets: int) -> CommitTracker[str]:
    made: CommitTracker[str] = CommitTracker()
    made.assign({name.replace("_", "-"): offset for name, offset in offsets.items()})
    return made


def process(t: CommitTracker[str], partition: str, start: int, end: int) -> None:
    number = t.deliver(partition, 0)
    t.start(partition, number)
    t.ack(partition, start, end, number)


def test_consecutive_batches_advance_the_offset() -> None:
    t = tracker(sent_0=10)
    for start, end in ((10, 15), (15, 16), (16, 40)):
        process(t, P, start, end)
    assert t.offsets == {P: 40}
    assert t.take_rewinds(0) == {}


def test_batch_behind_a_gap_rewinds_once() -> None:
    t = tracker(sent_0=10)
    process(t, P, 15, 20)
    assert t.offsets == {P: 10}
    assert t.take_rewinds(0) == {P: 10}
    assert t.take_rewinds(0) == {}


def test_repeated_batches_change_nothing() -> None:
    t = tracker(sent_0=10)
    for start, end in ((10, 20), (10, 20), (5, 12)):
        process(t, P, start, end)
    assert t.offsets == {P: 20}
    assert t.take_rewinds(0) == {}


def test_offsets_without_a_record_are_passed() -> None:
    t = tracker(sent_0=10)
    process(t, P, 10, 12)
    process(t, P, 12, 13)  # a transaction marker: no record
    assert t.offsets == {P: 13}


def test_batch_in_progress_is_never_lost() -> None:
    t = tracker(sent_0=0, receipt_0=0)
    slow = t.deliver(P, 0)
    t.start(P, slow)
    for second in range(1000):
        process(t, Q, second, second + 1)
        assert t.take_rewinds(second) == {}
    t.ack(P, 0, 5, slow)
    assert t.offsets == {P: 5, Q: 1000}


def test_delivery_that_never_starts_is_lost() -> None:
    t = tracker(sent_0=0)
    t.deliver(P, 0)
    assert t.take_rewinds(LOST_AFTER) == {}
    assert t.take_rewinds(LOST_AFTER + 1) == {P: 0}
    assert not t.is_busy(P)


def test_rewind_waits_for_the_batch_in_progress() -> None:
    t = tracker(sent_0=0)
    slow = t.deliver(P, 0)
    t.start(P, slow)
    process(t, P, 8, 9)
    assert t.take_rewinds(0) == {}
    t.ack(P, 0, 5, slow)
    assert t.take_rewinds(0) == {P: 5}


def test_returned_batch_is_fetched_again() -> None:
    t = tracker(sent_0=3)
    number = t.deliver(P, 0)
    t.start(P, number)
    assert t.is_busy(P)
    t.nack(P, number)
    assert not t.is_busy(P)
    assert t.take_rewinds(0) == {P: 3}


def test_lost_batch_that_starts_late_is_in_progress() -> None:
    t = tracker(sent_0=0)
    late = t.deliver(P, 0)
    assert t.take_rewinds(6) == {P: 0}
    t.deliver(P, 7)
    t.start(P, late)
    assert t.take_rewinds(13) == {}
    t.ack(P, 0, 5, late)
    assert t.take_rewinds(14) == {P: 5}


def test_slow_batches_do_not_count_as_in_flight() -> None:
    t = tracker(sent_0=0, receipt_0=0)
    t.start(P, t.deliver(P, 0))
    t.deliver(Q, 9)
    assert t.in_flight(since=-1) == 2
    assert t.in_flight(since=5) == 1


def test_revoked_partition_is_not_committed() -> None:
    t = tracker(sent_0=0)
    number = t.deliver(P, 0)
    t.assign({})
    t.ack(P, 0, 5, number)
    assert t.offsets == {}
    assert t.take_rewinds(1000) == {}


def test_truncated_log_moves_the_offset() -> None:
    t = tracker(sent_0=10)
    assert t.truncate(P, 100) == 90
    assert t.truncate(P, 50) == 0
    assert t.offsets == {P: 100}


@dataclass
class Log:
    """A partition as a consumer reads it: batch after batch from its position."""

    position: int = 0
    done: set[int] = field(default_factory=set)
    delivered: list[tuple[int, int, int]] = field(default_factory=list)
    started: list[tuple[int, int, int]] = field(default_factory=list)


Step = tuple[str, str, int]
steps = st.lists(
    st.tuples(
        st.sampled_from([P, Q, "response-0"]),
        st.sampled_from(["deliver", "drop", "start", "ack", "nack", "rewind"]),
        st.integers(1, 5),
    ),
    max_size=80,
)


@given(steps)
def test_offset_never_passes_undone_records(script: list[Step]) -> None:
    """For any interleaving of delivered, dropped, started, finished and returned batches."""
    logs = {P: Log(), Q: Log(), "response-0": Log()}
    t: CommitTracker[str] = CommitTracker()
    t.assign(dict.fromkeys(logs, 0))
    for now, (partition, action, size) in enumerate(script):
        log = logs[partition]
        if action in ("deliver", "drop") and not t.is_busy(partition):
            start, log.position = log.position, log.position + size
            if action == "deliver":
                log.delivered.append((start, log.position, t.deliver(partition, now)))
            else:
                t.drop(partition)
        elif action == "start" and log.delivered:
            batch = log.delivered.pop(0)
            t.start(partition, batch[2])
            log.started.append(batch)
        elif action == "ack" and log.started:
            start, end, number = log.started.pop(size % len(log.started))
            log.done |= set(range(start, end))
            t.ack(partition, start, end, number)
        elif action == "nack" and log.started:
            t.nack(partition, log.started.pop()[2])
        elif action == "rewind":
            for rewound, offset in t.take_rewinds(now).items():
                assert not logs[rewound].started, "a batch in progress is not lost"
                logs[rewound].position = offset
        for name, offset in t.offsets.items():
            assert set(range(offset)) <= logs[name].done


@given(steps, st.integers(1, 40))
def test_everything_is_done_after_any_faults(script: list[Step], length: int) -> None:
    """Whichever batches were dropped or returned, further fetches complete the log: no partition hangs."""
    log, t, now = Log(), CommitTracker[str](), 0
    t.assign({P: 0})
    for now, (_, action, size) in enumerate(script):
        if action in ("deliver", "drop") and not t.is_busy(P) and log.position < length:
            start, log.position = log.position, min(length, log.position + size)
            if action == "drop":
                t.drop(P)
            else:
                number = t.deliver(P, now)
                if size > 2:  # otherwise Faust dropped it from its queue
                    t.start(P, number)
                    if size == 3:
                        t.nack(P, number)
                    else:
                        t.ack(P, start, log.position, number)
    for _ in range(3 * length + 3):
        now += round(LOST_AFTER) + 1
        log.position = t.take_rewinds(now).get(P, log.position)
        if not t.is_busy(P) and log.position < length:
            start, log.position = log.position, log.position + 1
            number = t.deliver(P, now)
            t.start(P, number)
            t.ack(P, start, log.position, number)
    assert t.offsets == {P: length}

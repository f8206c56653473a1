"""`as_of` never runs ahead of what is in ClickHouse, in any order of events."""

from __future__ import annotations

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from gateway.contacts.barriers import Barriers, Observation, Offsets, Stage
from gateway.contacts.freshness import STAGES
from sinks.tables import TABLE_OF
from streams.contact import CONTACTS
from streams.contact_event import CONTACT_EVENTS
from streams.correlate import ABOUT_CONTACTS

IN, MIDDLE, OUT = TopicPartition("in", 0), TopicPartition("middle", 0), TopicPartition("out", 0)
STEPS = ("ack", "correlate", "commit 0", "merge", "commit 1", "insert", "read commits", "read ends")
PIPELINE = (Stage("streams", ("in",)), Stage("streams", ("middle",)), Stage("sinks", ("out",)))


def observe(time: float | None, committed: tuple[int, int, int], ends: tuple[int, int, int]) -> Observation:
    """Commits and ends of the topics `in`, `middle` and `out`."""
    groups: dict[str, Offsets] = {
        "streams": {IN: committed[0], MIDDLE: committed[1]},
        "sinks": {OUT: committed[2]},
    }
    return Observation(time, groups, dict(zip((IN, MIDDLE, OUT), ends, strict=True)))


def test_stages_are_those_of_streams_and_sinks() -> None:
    assert (
        Stage("streams", ABOUT_CONTACTS),
        Stage("streams", (CONTACT_EVENTS,)),
        Stage("sinks", (CONTACTS,)),
    ) == STAGES
    assert CONTACTS in TABLE_OF


def test_idle_pipeline_is_fresh_at_once() -> None:
    barriers = Barriers(PIPELINE)
    barriers.advance(observe(10, (5, 2, 1), (5, 2, 1)))
    assert barriers.as_of == 10


def test_record_holds_as_of_back_at_each_stage() -> None:
    barriers = Barriers(PIPELINE)
    barriers.advance(observe(10, (5, 2, 1), (5, 2, 1)))
    for time, committed, ends in [
        (11.0, (5, 2, 1), (6, 2, 1)),  # acknowledged
        (12.0, (5, 2, 1), (6, 3, 1)),  # its event is written
        (13.0, (6, 2, 1), (6, 3, 1)),  # and committed
        (14.0, (6, 2, 1), (6, 3, 2)),  # the contact is written
        (15.0, (6, 3, 1), (6, 3, 2)),  # and committed
    ]:
        barriers.advance(observe(time, committed, ends))
        assert barriers.as_of == 10
    barriers.advance(observe(16, (6, 3, 2), (6, 3, 2)))
    assert barriers.as_of == 16


def test_as_of_advances_while_new_records_arrive() -> None:
    barriers = Barriers(PIPELINE)
    for n in range(100):  # each stage is three records behind
        barriers.advance(observe(n, (n, max(n - 3, 0), max(n - 6, 0)), (n + 3, n, max(n - 3, 0))))
    assert barriers.as_of is not None
    assert barriers.as_of > 80


def test_as_of_stays_while_the_spool_has_records() -> None:
    barriers = Barriers(PIPELINE)
    barriers.advance(observe(10, (5, 2, 1), (5, 2, 1)))
    barriers.advance(observe(None, (5, 2, 1), (5, 2, 1)))
    assert barriers.as_of == 10


def test_missing_topic_leaves_as_of_unknown() -> None:
    barriers = Barriers(PIPELINE)
    complete = observe(10, (5, 2, 1), (5, 2, 1))
    barriers.advance(complete._replace(ends={IN: 5, MIDDLE: 2}))
    assert barriers.as_of is None


def test_commit_of_an_earlier_topic_does_not_count() -> None:
    barriers = Barriers(PIPELINE)
    barriers.advance(observe(10, (900, 2, 1), (5, 2, 1)))
    assert barriers.as_of is None


def test_recreated_topic_drops_pending_barriers() -> None:
    barriers = Barriers(PIPELINE)
    barriers.advance(observe(10, (4, 2, 1), (900, 2, 1)))
    barriers.advance(observe(11, (3, 2, 1), (3, 2, 1)))
    assert barriers.as_of == 11


@given(st.lists(st.sampled_from(STEPS), max_size=200))
def test_everything_before_as_of_is_in_clickhouse(steps: list[str]) -> None:
    """Each stage writes before it commits; anything may happen within a poll."""
    barriers = Barriers(PIPELINE)
    began, seen = 0.0, (0, 0, 0)
    acknowledged: list[float] = []
    done, ends, committed = [0, 0, 0], [0, 0, 0], [0, 0, 0]
    for now, step in enumerate(steps):
        match step:
            case "ack":
                acknowledged.append(now)
                ends[0] += 1
            case "correlate" if done[0] < ends[0]:
                done[0] += 1
                ends[1] += 1
            case "merge" if done[1] < ends[1]:
                done[1] += 1
                ends[2] += 1
            case "commit 0" | "commit 1":
                stage = int(step[-1])
                committed[stage] = done[stage]
            case "insert" if done[2] < ends[2]:
                done[2] += 1
                committed[2] = done[2]
            case "read commits":
                began, seen = now, (committed[0], committed[1], committed[2])
            case "read ends":
                barriers.advance(observe(began, seen, (ends[0], ends[1], ends[2])))
        if barriers.as_of is not None:
            as_of = barriers.as_of
            assert sum(time < as_of for time in acknowledged) <= done[2]

"""A message's state is the same for any order, repetition and split of its postbacks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.postback import Response, Sent
from gateway.submission import Submission
from streams.join import join
from streams.merge import Event, merge, state_of
from streams.message import VERSION, Message, decode_message, encode_message
from streams.versions import NewerVersion
from tests.support.postbacks import at, receipt, reply, sent
from tests.support.submissions import events as any_event
from tests.support.submissions import submission


def fold(events: Sequence[Event]) -> Message:
    """Merge postbacks one by one: the reference for everything else."""
    state = reduce(merge, events, None)
    assert state is not None
    return state


stories = st.lists(any_event, min_size=1, max_size=12)


# -- the lattice


@given(stories.flatmap(lambda story: st.tuples(st.just(story), st.permutations(story))))
def test_state_is_independent_of_order(
    orders: tuple[list[Event], list[Event]],
) -> None:
    story, shuffled = orders
    assert encode_message(fold(story)) == encode_message(fold(shuffled))


@given(stories, st.data())
def test_duplicate_postbacks_change_nothing(story: list[Event], data: st.DataObject) -> None:
    duplicates = data.draw(st.lists(st.sampled_from(story)))
    state = fold(story)
    assert reduce(merge, duplicates, state) is state


@given(stories, stories)
def test_partial_states_join_to_state_of_all_postbacks(one: list[Event], other: list[Event]) -> None:
    assert join(fold(one), fold(other)) == fold(one + other) == join(fold(other), fold(one))


@given(stories, stories, stories)
def test_join_is_associative(a: list[Event], b: list[Event], c: list[Event]) -> None:
    x, y, z = fold(a), fold(b), fold(c)
    assert join(join(x, y), z) == join(x, join(y, z))


@given(stories, stories, st.none() | st.integers(0, 40), st.none() | st.integers(0, 40))
def test_overdue_marks_join_in_any_order(
    one: list[Event], other: list[Event], mark: int | None, other_mark: int | None
) -> None:
    x, y = fold(one), fold(other)
    x = join(x, replace(x, overdue_at=mark if mark is None else at(mark)))
    y = join(y, replace(y, overdue_at=other_mark if other_mark is None else at(other_mark)))
    late = state_of(receipt("r1", 20))
    assert join(join(x, y), late) == join(x, join(late, y)) == join(join(y, late), x)


def with_unsent(state: Message, second: int | None) -> Message:
    """The state with a mark as streams derives it, of messages with a submission only."""
    if second is None or not state.submissions:
        return state
    return join(state, replace(state, unsent_at=at(second)))


@given(st.lists(st.tuples(stories, st.none() | st.integers(0, 40)), min_size=3, max_size=3))
def test_unsent_marks_join_in_any_order(marked: list[tuple[list[Event], int | None]]) -> None:
    x, y, z = (with_unsent(fold(story), second) for story, second in marked)
    joined = join(join(x, y), z)
    assert joined == join(x, join(y, z)) == join(join(z, y), x) == join(y, join(z, x))
    assert join(joined, joined) == joined


@given(stories, st.integers(0, 40), any_event)
def test_merge_into_unsent_equals_join(story: list[Event], second: int, more: Event) -> None:
    state = with_unsent(fold(story), second)
    assert merge(state, more) == join(state, state_of(more)) == join(state_of(more), state)


@given(stories, any_event)
def test_merge_equals_join_with_state_of_postback(story: list[Event], more: Event) -> None:
    assert merge(fold(story), more) == join(fold(story), state_of(more))


@given(stories)
def test_state_survives_encoding(story: list[Event]) -> None:
    state = fold(story)
    assert decode_message(encode_message(state)) == state


@given(stories, any_event)
def test_merge_does_not_modify_its_argument(story: list[Event], more: Event) -> None:
    state = fold(story)
    before = encode_message(state)
    merge(state, more)
    assert encode_message(state) == before


# -- fields


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([sent()], "sent"),
        ([sent("x", ok=False)], "retrying"),
        ([sent("x", ok=False), sent("y", 1, ok=False)], "retrying"),
        ([sent(e, ok=False) for e in "xyz"], "cancelled"),
        ([sent(e, ok=False) for e in "xyz"] + [sent("w", 9)], "sent"),
        ([sent(), receipt(code="003")], "in_transit"),
        ([receipt(code="004")], "in_transit"),
        ([sent(), receipt(code="003"), receipt("r2", code="000")], "delivered"),
        ([receipt("r2", code="024"), receipt("r3", code="003")], "failed"),
        ([receipt("r2", code="024"), receipt("r3", code="000")], "delivered"),
        ([receipt(code="777")], "unknown"),
        ([sent(), receipt(code="777")], "sent"),
        ([reply()], "unknown"),
        ([reply(matched=False)], "received"),
        ([submission()], "submitted"),
        ([submission(), reply()], "submitted"),
        ([submission(), submission("u2", error=3)], "refused"),
        ([submission("u2", error=None, error_name="NewError")], "refused"),
        ([submission("u2", error=3), submission("u3", cancelled=True)], "withdrawn"),
        ([submission("u3", cancelled=True), sent("x", ok=False)], "retrying"),
        ([submission("u2", error=3), sent()], "sent"),
    ],
)
def test_status_is_best_founded_in_any_order(events: list[Event], status: str) -> None:
    assert {fold(order).status for order in permutations(events)} == {status}


def test_conflicting_receipts_are_both_kept() -> None:
    state = fold([receipt("r1", 1, "024"), receipt("r2", 2, "000")])
    assert [fact.code for fact in state.receipts] == ["024", "000"]
    assert (state.failed_at, state.delivered_at) == (at(1), at(2))


def test_repetition_keeps_earliest_time_and_extends_last_seen() -> None:
    state = fold([receipt("r1", 5, "000"), receipt("r1", 2, "000"), receipt("r1", 9, "000")])
    assert [fact.received_at for fact in state.receipts] == [at(2)]
    assert (state.first_seen_at, state.last_seen_at, state.delivered_at) == (at(2), at(9), at(2))


def test_refusals_of_partial_states_are_counted_together() -> None:
    one, other = (
        fold([sent("x", ok=False), sent("y", 1, ok=False)]),
        fold([sent("y", 1, ok=False), sent("z", 2, ok=False)]),
    )
    assert (one.status, join(one, other).status) == ("retrying", "cancelled")


def test_identity_prefers_sent_over_receipt_over_reply() -> None:
    state = fold(
        [
            reply(reference_id="1", from_number="3", to_number="4"),
            receipt(reference_id="2", from_number="5", to_number="6"),
            sent(reference_id="9", from_number="7", to_number=""),
        ]
    )
    assert (state.reference_id, state.from_number, state.to_number) == ("9", "7", "6")


def test_numbers_of_matched_reply_are_swapped() -> None:
    state = fold([reply(from_number="17575449511", to_number="74121")])
    assert (state.from_number, state.to_number) == ("74121", "17575449511")


def test_unmatched_reply_is_inbound_message() -> None:
    state = fold([reply(matched=False, reply_id="i", from_number="17575449511", to_number="74121")])
    assert (state.direction, state.from_number, state.orphan) == ("inbound", "17575449511", False)
    assert [(fact.reply_id, fact.text) for fact in state.replies] == [("i", "Ack")]
    assert state.replied_at is None


def test_replies_are_ordered_by_time() -> None:
    state = fold([reply("a2", 4, "Ack"), reply("a1", 3, "Ak")])
    assert [fact.text for fact in state.replies] == ["Ak", "Ack"]
    assert state.replied_at == at(3)


def test_identity_of_submission_yields_to_all_postbacks() -> None:
    events: list[Event] = [
        submission(reference_id="0", from_number="1", to_number="2"),
        reply(reference_id="3", from_number="5", to_number=""),
    ]
    state = fold(events)
    assert (state.reference_id, state.from_number, state.to_number) == ("3", "1", "5")
    assert (state.reference_rank, state.from_rank, state.to_rank) == (2, 3, 2)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_requests_of_one_submission_join_field_by_field(order: tuple[int, ...]) -> None:
    events = [
        submission(second=3),
        submission(second=5, text="Hello", from_number="7"),
        submission(second=9, scheduled_for=at(60), to_number="42", reference_id="r"),
    ]
    state = fold([events[n] for n in order])
    assert (state.text, state.scheduled_for, state.submitted_at) == ("Hello", at(60), at(3))
    assert (state.from_number, state.to_number, state.reference_id) == ("7", "42", "r")
    assert [fact.received_at for fact in state.submissions] == [at(3)]


def test_submission_error_is_name_or_unlisted_number() -> None:
    assert fold([submission(error=3)]).submission_error == "PhoneNumberInvalid"
    assert fold([submission(error=77)]).submission_error == "77"
    assert fold([submission()]).submission_error == ""


def test_submitted_message_is_no_orphan() -> None:
    assert not fold([submission(), receipt()]).orphan


def test_submission_without_message_id_has_no_state() -> None:
    with pytest.raises(ValueError, match="no message"):
        state_of(submission(message_id=None))


def test_only_states_with_submissions_have_new_version() -> None:
    assert fold([sent()]).version == 1
    story: list[Event] = [sent(), submission(), receipt()]
    assert {fold(order).version for order in permutations(story)} == {2}


def plain_submission_fields(story: Sequence[Event]) -> dict[str, object]:
    """What submissions contribute, calculated without the join."""
    own = [event for event in story if isinstance(event, Submission)]
    return {
        "submitted_at": min((each.received_at for each in own), default=None),
        "withdrawn_at": min((each.received_at for each in own if each.cancelled), default=None),
        "submission_error": max(
            (each.error_name or str(each.error) for each in own if each.error != 0), default=""
        ),
        "scheduled_for": max((each.scheduled_for for each in own if each.scheduled_for), default=None),
        "text": max((each.text for each in own), default=""),
        "submissions": sorted(
            (min(each.received_at for each in own if each.event_id == event_id), event_id)
            for event_id in {each.event_id for each in own}
        ),
        "orphan": not own
        and not any(isinstance(event, Sent) for event in story)
        and any(not isinstance(event, Response) or event.matched for event in story),
    }


@given(stories, st.data())
def test_submissions_in_any_order_equal_plain_fold(story: list[Event], data: st.DataObject) -> None:
    repeated = [*story, *data.draw(st.lists(st.sampled_from(story)))]
    state = fold(data.draw(st.permutations(repeated)))
    found = {name: getattr(state, name) for name in plain_submission_fields(story)}
    found["submissions"] = [(fact.received_at, fact.event_id) for fact in state.submissions]
    assert found == plain_submission_fields(story)


def test_outbound_message_is_orphan_until_sent_arrives() -> None:
    state = fold([receipt()])
    assert state.orphan
    assert not merge(state, sent(ok=False)).orphan


def test_receipts_contribute_backup_message_ids() -> None:
    state = fold([receipt("r2", 2, "091", backup_message_id="b"), receipt("r1", 1, backup_message_id="a")])
    assert state.backup_message_ids == ["a", "b"]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_superseded_version_of_receipt_loses_its_backup(order: tuple[int, ...]) -> None:
    events = [receipt("r1", 5, backup_message_id="b"), receipt("r1", 1), receipt("r2", 3)]
    assert fold([events[n] for n in order]).backup_message_ids == []


# -- caps


@given(st.permutations(range(130)), st.integers(1, 129))
def test_earliest_hundred_facts_are_kept_for_any_split(order: list[int], split: int) -> None:
    events = [receipt(f"{n:03}", n // 2, code="003" if n < 129 else "000") for n in order]
    state = join(fold(events[:split]), fold(events[split:]))
    assert [fact.event_id for fact in state.receipts] == [f"{n:03}" for n in range(100)]
    assert (state.status, state.delivered_at) == ("delivered", at(64))


def test_repeated_fact_beyond_cap_changes_nothing() -> None:
    events = [receipt(f"{n:03}", n) for n in range(110)]
    state = fold(events)
    assert all(merge(state, event) is state for event in events)


def test_success_beyond_cap_still_sets_status() -> None:
    refusals = [sent(f"{n:03}", n, ok=False) for n in range(120)]
    assert fold(refusals).status == "cancelled"
    assert fold([*refusals, sent("ok", 500)]).status == "sent"


def test_largest_message_fits_into_kafka_record() -> None:
    escaped = "\x01" * 5000
    events: list[Event] = []
    for n in range(150):
        events += [
            sent(f"s{n:031}", n, reference_id=escaped, from_number="1" * 5000),
            receipt(f"r{n:031}", n, code=escaped, text=escaped, backup_message_id="b" * 36),
            reply(f"a{n:031}", n, text=escaped, reply_id="b" * 36),
            submission(f"u{n:031}", n, error=None, error_name=escaped, text=escaped),
        ]
    state = fold(events)
    assert {len(fact.text) for facts in (state.receipts, state.replies) for fact in facts} == {1000}
    assert len(encode_message(state)) < 2**21 * 0.9


# -- versions


def test_state_of_newer_version_is_rejected() -> None:
    newer = encode_message(replace(fold([sent()]), version=VERSION + 1))
    with pytest.raises(NewerVersion, match="upgrade"):
        decode_message(newer)

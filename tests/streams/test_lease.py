"""A worker writes only while its partitions are surely its own."""

from __future__ import annotations

from streams.transport.lease import Lease

SESSION = 9.0


def test_nobody_writes_before_the_group_has_answered_once() -> None:
    assert Lease(SESSION).left(0) == 0


def test_a_commit_that_the_group_took_allows_writes_for_two_thirds_of_a_session() -> None:
    lease = Lease(SESSION)
    lease.renew(asked_at=100)
    assert lease.left(100) == 6
    assert lease.left(105) == 1
    assert lease.left(106) == lease.left(1000) == 0


def test_it_counts_from_when_the_group_was_asked_not_from_its_answer() -> None:
    lease = Lease(SESSION)
    lease.renew(asked_at=100)
    lease.renew(asked_at=98)  # an answer that came late
    assert lease.left(100) == 6


def test_the_group_is_asked_again_while_half_of_it_is_left() -> None:
    lease = Lease(SESSION)
    assert lease.needs_renewal(0)
    lease.renew(asked_at=100)
    assert not lease.needs_renewal(103)
    assert lease.needs_renewal(103.1)


def test_a_worker_that_was_frozen_beyond_its_session_finds_nothing_left() -> None:
    lease = Lease(SESSION)
    lease.renew(asked_at=100)
    assert lease.left(100 + SESSION + 1) == 0


def test_partitions_given_back_are_not_written_any_more() -> None:
    lease = Lease(SESSION)
    lease.renew(asked_at=100)
    lease.end()
    assert lease.left(100) == 0

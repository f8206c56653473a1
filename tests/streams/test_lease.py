"""A worker writes only while its partitions are certain to be its own."""

from __future__ import annotations

from streams.transport.lease import Lease

SESSION = 9.0


def test_no_write_before_the_first_accepted_commit() -> None:
    assert Lease(SESSION).remaining(0) == 0


def test_lease_lasts_two_thirds_of_a_session() -> None:
    lease = Lease(SESSION)
    lease.renew(sent_at=100)
    assert lease.remaining(100) == 6
    assert lease.remaining(105) == 1
    assert lease.remaining(106) == lease.remaining(1000) == 0


def test_lease_counts_from_sending_the_commit() -> None:
    lease = Lease(SESSION)
    lease.renew(sent_at=100)
    lease.renew(sent_at=98)  # a response that arrived late
    assert lease.remaining(100) == 6


def test_renewal_is_needed_below_half_the_lease() -> None:
    lease = Lease(SESSION)
    assert lease.needs_renewal(0)
    lease.renew(sent_at=100)
    assert not lease.needs_renewal(103)
    assert lease.needs_renewal(103.1)


def test_lease_has_expired_after_a_long_suspension() -> None:
    lease = Lease(SESSION)
    lease.renew(sent_at=100)
    assert lease.remaining(100 + SESSION + 1) == 0


def test_revoked_partitions_are_not_written() -> None:
    lease = Lease(SESSION)
    lease.renew(sent_at=100)
    lease.release()
    assert lease.remaining(100) == 0

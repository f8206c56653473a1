"""Chains of messages: what links them, their order, and their end results."""

from __future__ import annotations

from operations.message_chain import MAX_RETRIES
from streams.message import Message
from tests.support.message_chains import chains_of, guid, line, retried


def ids(*numbers: int) -> list[str]:
    return [guid(number) for number in numbers]


def results(*messages: Message) -> list[tuple[list[str], str]]:
    """The ids and the end result of each chain."""
    return [(chain.message_ids, chain.status) for chain in chains_of(messages)]


def test_delivered_retry_makes_the_text_delivered() -> None:
    assert results(retried(1, 2), retried(2, code="000", second=9)) == [(ids(1, 2), "delivered")]


def test_delivered_first_message_stays_delivered() -> None:
    assert results(retried(1, 2, code="000"), retried(2, second=9)) == [(ids(1, 2), "delivered")]


def test_last_retry_decides_if_none_is_delivered() -> None:
    assert results(retried(1, 2), retried(2, 3), retried(3)) == [(ids(1, 2, 3), "sent")]


def test_retry_that_is_not_stored_is_unknown() -> None:
    assert results(retried(1, 2)) == [(ids(1, 2), "unknown")]


def test_retries_of_one_message_are_in_order() -> None:
    fork = retried(1, 2, 3, 4), retried(3, second=5), retried(2, second=6, code="005")
    assert results(*fork) == [(ids(1, 3, 2, 4), "unknown")]


def test_shared_backup_belongs_to_first_seen_retried() -> None:
    assert results(retried(1, 3, second=2), retried(2, 3, second=1), retried(3, second=9)) == [
        (ids(2, 3), "sent")
    ]


def test_loop_begins_at_its_first_seen_retried() -> None:
    loop = retried(1, 2, second=2), retried(2, 3, second=1), retried(3, 1, second=3)
    assert results(*loop) == [(ids(2, 3, 1), "failed")]


def test_message_that_names_itself_has_no_chain() -> None:
    assert results(retried(1, 1), retried(2)) == []


def test_accounts_are_never_linked() -> None:
    theirs = retried(2, code="000", account="other")
    assert results(retried(1, 2), theirs) == [(ids(1, 2), "unknown")]


def test_retries_beyond_the_limit_are_left_out() -> None:
    ((found, _),) = results(*line(100))
    assert found == ids(*range(MAX_RETRIES + 1))

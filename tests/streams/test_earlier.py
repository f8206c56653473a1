"""Stores and commits of an earlier topic are told from those of the current one, and joined into it."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from runtime.kafka.commit_metadata import commit_metadata, is_outdated
from runtime.kafka.topic_watch import MISSING_AFTER, TopicIdentity
from streams.merge import state_of
from streams.message import encode_message
from streams.state.earlier import changes_by_joining
from streams.state.folders import StoreFolders
from streams.tables import MESSAGES_TABLE
from tests.support.postbacks import receipt, sent
from tests.support.workload import fold

FIRST, SECOND = UUID(int=1), UUID(int=2)
KEY = b"acme/message"


def stores(path: Path, *names: str) -> None:
    for name in names:
        (path / name).mkdir(parents=True)
        (path / name / "CURRENT").write_text(str(path))


def test_stores_of_another_topic_are_earlier_ones(tmp_path: Path) -> None:
    first = StoreFolders(tmp_path, FIRST)
    stores(first.current, "0", "1", "v1")
    assert first.earlier() == []
    second = StoreFolders(tmp_path, SECOND)
    assert second.earlier() == [first.current / "0", first.current / "1"]
    second.remove(first.current / "0")
    assert second.earlier() == [first.current / "1"]
    second.remove(first.current / "1")
    assert not first.current.exists()
    assert second.current.exists()


def test_stores_without_an_id_take_it_on(tmp_path: Path) -> None:
    unknown = StoreFolders(tmp_path, None)
    assert unknown.current == tmp_path
    stores(unknown.current, "0", "12")
    assert unknown.earlier() == []
    first = StoreFolders(tmp_path, FIRST)
    assert {path.name for path in first.current.iterdir()} == {"0", "12"}
    assert [path.name for path in tmp_path.iterdir()] == [str(FIRST)]
    assert first.earlier() == []
    stores(tmp_path, "0")  # an older version of this code ran meanwhile
    assert StoreFolders(tmp_path, FIRST).earlier() == []


def test_store_set_aside_is_an_earlier_one(tmp_path: Path) -> None:
    folders = StoreFolders(tmp_path, FIRST)
    for _ in range(2):
        stores(folders.current, "7")
        folders.set_aside(7)
    assert [path.name for path in folders.earlier()] == ["7", "7"]
    assert not (folders.current / "7").exists()
    folders.set_aside(7)
    assert len(folders.earlier()) == 2, "there was none"


@pytest.mark.parametrize(
    ("committed", "current", "outdated"),
    [
        (FIRST, SECOND, True),
        (FIRST, FIRST, False),
        (None, FIRST, False),
        (FIRST, None, False),
        (None, None, False),
    ],
)
def test_commit_of_another_topic_is_outdated(
    committed: UUID | None, current: UUID | None, outdated: bool
) -> None:
    assert is_outdated(commit_metadata(committed), commit_metadata(current)) == outdated


def test_commit_with_foreign_metadata_is_accepted() -> None:
    assert not is_outdated("set by hand", commit_metadata(FIRST))


def test_topic_with_another_id_was_replaced() -> None:
    identity = TopicIdentity("messages", FIRST)
    assert identity.problem(0, {"messages": FIRST}) is None
    assert "created again" in str(identity.problem(1, {"messages": SECOND}))


def test_topic_missing_for_long_was_deleted() -> None:
    identity = TopicIdentity("messages", FIRST)
    assert identity.problem(10, {}) is None
    assert identity.problem(10 + MISSING_AFTER / 2, {"messages": FIRST}) is None
    assert identity.problem(20, {}) is None
    assert identity.problem(20 + MISSING_AFTER / 2, {}) is None
    assert str(identity.problem(20 + MISSING_AFTER, {})) == "messages was deleted"


def test_only_states_that_add_something_are_written() -> None:
    poor = encode_message(state_of(sent()))
    (rich,) = fold([sent(), receipt()]).values()
    (other,) = fold([receipt("r2", code="000")]).values()
    (both,) = fold([sent(), receipt("r2", code="000")]).values()
    known = {b"a": rich, b"b": poor, b"c": None, b"d": other, b"e": None}
    states = {b"a": poor, b"b": rich, b"c": rich, b"d": poor, b"e": b"?"}
    changes = changes_by_joining(MESSAGES_TABLE, states, known)
    assert {key: change.value for key, change in changes.items()} == {b"b": rich, b"c": rich, b"d": both}

"""`DATA/stack.env`: other commands find the stack that runs on a folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cli.up.stack_file import FILE, find_settings, lock_data_dir, write_stack_file

STACK = {"POSTBACKS_KAFKA": "127.0.0.1:1111", "POSTBACKS_PARTITIONS": "3"}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("POSTBACKS_")]:
        monkeypatch.delenv(name)


def test_settings_of_a_running_stack_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with lock_data_dir(tmp_path):
        write_stack_file(tmp_path, STACK)
        found = find_settings(tmp_path)
        assert (found.kafka, found.partitions) == ("127.0.0.1:1111", 3)
        monkeypatch.setenv("POSTBACKS_DATA", str(tmp_path))
        assert find_settings().kafka == "127.0.0.1:1111"


def test_settings_of_a_stopped_stack_are_ignored(tmp_path: Path) -> None:
    with lock_data_dir(tmp_path):
        write_stack_file(tmp_path, STACK)
    assert find_settings(tmp_path).kafka == "127.0.0.1:9092"


def test_lock_removes_the_file_of_a_killed_stack(tmp_path: Path) -> None:
    write_stack_file(tmp_path, STACK)
    with lock_data_dir(tmp_path):
        assert find_settings(tmp_path).partitions == 8


def test_environment_overrides_the_running_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTBACKS_KAFKA", "127.0.0.1:2222")
    with lock_data_dir(tmp_path):
        write_stack_file(tmp_path, STACK)
        found = find_settings(tmp_path)
    assert (found.kafka, found.partitions) == ("127.0.0.1:2222", 3)


def test_settings_file_overrides_the_running_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.env").write_text("POSTBACKS_PARTITIONS=5\n")
    monkeypatch.setenv("POSTBACKS_SETTINGS", str(tmp_path / "own.env"))
    with lock_data_dir(tmp_path):
        write_stack_file(tmp_path, STACK)
        found = find_settings(tmp_path)
    assert (found.kafka, found.partitions) == ("127.0.0.1:1111", 5)


def test_stack_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    write_stack_file(tmp_path, STACK)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600

"""The intent log: what was about to be sent, and what became of it, also after a crash."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from sending.intent_log import IntentLog, IntentLogUnusable, read_log
from sending.intents import (
    AttemptKey,
    IntentRecord,
    RowState,
    SendIntent,
    SendResult,
    SendStatus,
    SubmissionAcknowledged,
)

INTENT = SendIntent("a", 1, "send-a", "2026-11-28T12:00:00+00:00")
QUEUED = SendResult("a", 1, SendStatus.QUEUED, "NoError", '{"response": "…"}')
ACKNOWLEDGED = SubmissionAcknowledged("a", 1)


async def append(path: Path, *records: IntentRecord) -> None:
    with IntentLog(path) as log:
        for record in records:
            await log.append(record)


async def test_records_survive_reopening(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.sends"
    await append(path, INTENT)
    await append(path, QUEUED)
    state = read_log(path)
    assert state.rows == {"a": RowState(1, SendStatus.QUEUED, "NoError", "send-a")}
    assert state.pending == {AttemptKey("a", 1): QUEUED.submission}
    assert state.next_attempt("a") == 2
    assert path.stat().st_mode & 0o777 == 0o600


async def test_intent_without_result_is_unknown(tmp_path: Path) -> None:
    await append(tmp_path / "log", INTENT)
    row = read_log(tmp_path / "log").rows["a"]
    assert (row.status, row.detail) == (SendStatus.UNKNOWN, "interrupted at 2026-11-28T12:00:00+00:00")


async def test_acknowledged_submission_is_no_longer_pending(tmp_path: Path) -> None:
    await append(tmp_path / "log", INTENT, QUEUED, ACKNOWLEDGED)
    assert read_log(tmp_path / "log").pending == {}


@pytest.mark.parametrize("kept", [1, 10, -2, -1])
async def test_torn_last_line_is_cut_off(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "log"
    await append(path, INTENT)
    complete = path.read_bytes()
    await append(path, QUEUED)
    path.write_bytes(complete + path.read_bytes()[len(complete) :][:kept])
    await append(path, SendIntent("b", 1, "send-b", "now"))
    assert {row: state.status for row, state in read_log(path).rows.items()} == {
        "a": SendStatus.UNKNOWN,
        "b": SendStatus.UNKNOWN,
    }


@pytest.mark.parametrize("line", [b"{}\n", b"\0\0\n", b"\xff\n", b'{"record":"acknowledged"}\n', b"\n"])
async def test_damaged_line_is_refused_and_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "log"
    await append(path, INTENT)
    path.write_bytes(path.read_bytes() + line + path.read_bytes())
    before = path.read_bytes()
    for opened in (IntentLog, read_log):
        with pytest.raises(IntentLogUnusable, match="line 2 is damaged"):
            opened(path)
    assert path.read_bytes() == before


async def test_second_user_is_refused(tmp_path: Path) -> None:
    with IntentLog(tmp_path / "log"), pytest.raises(IntentLogUnusable, match="in use by another"):
        IntentLog(tmp_path / "log")
    with IntentLog(tmp_path / "log"):
        """The lock is released."""


async def test_concurrent_appends_are_all_stored(tmp_path: Path) -> None:
    with IntentLog(tmp_path / "log") as log:
        await asyncio.gather(*(log.append(SendIntent(str(n), 1, "", "now")) for n in range(200)))
        assert len(log.state.rows) == 200
    assert read_log(tmp_path / "log").rows == log.state.rows


async def test_append_returns_after_the_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def sync(file: int) -> None:
        real(file)
        synced.append(os.fstat(file).st_size)

    with IntentLog(tmp_path / "log") as log:
        monkeypatch.setattr(os, "fsync", sync)
        await log.append(INTENT)
        assert synced == [log.path.stat().st_size]


async def test_nothing_is_appended_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    with IntentLog(tmp_path / "log") as log:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", fail)
            with pytest.raises(OSError, match="No space left"):
                await log.append(INTENT)
        with pytest.raises(OSError, match="No space left"):
            await log.append(INTENT)
        assert log.state.rows == {}

"""The spool on disk: what it took is there after anything, and belongs to one process at a time."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gateway.spool import file as spool
from gateway.spool.file import SpoolDamaged, Spooled, SpoolFailed, SpoolFile
from tests.support.small_disk import small_disk


def records(count: int, first: int = 0, size: int = 300) -> list[Spooled]:
    return [
        Spooled("postbacks.sent", b"acme/%d" % n, b"%d" % n + b"x" * size, 1000.0 + n)
        for n in range(first, first + count)
    ]


def reopen(path: Path) -> SpoolFile:
    lock = spool.try_lock(path)
    assert lock is not None
    return SpoolFile(path, lock)


@contextmanager
def disk_ends_at(size: int) -> Iterator[None]:
    """As if the disk were full: no file of this process can grow beyond that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_went_in_comes_out_oldest_first_and_leaves_when_published(tmp_path: Path) -> None:
    file = spool.create(tmp_path)
    file.append(records(3))
    file.append(records(2, first=3))
    assert (file.count, file.oldest_at) == (5, 1000.0)
    taken = file.oldest(4)
    assert [record for _, record in taken] == records(4)
    file.remove(taken)
    assert (file.count, file.size, file.oldest_at) == (1, records(1, first=4)[0].size, 1004.0)
    file.close()


def test_a_spool_of_a_process_that_was_killed_is_adopted_whole(tmp_path: Path) -> None:
    killed = """if True:
        import os, signal, sys
        from pathlib import Path
        from gateway import spool
        from tests.gateway.test_spool_file import records
        spool.create(Path(sys.argv[1])).append(records(100))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", killed, tmp_path], cwd=Path(__file__).parent.parent.parent, check=False
    )
    assert done.returncode == -signal.SIGKILL
    [(path, lock)] = spool.claim_orphaned(tmp_path)
    file = SpoolFile(path, lock)
    assert [record for _, record in file.oldest(1000)] == records(100)
    file.close()


def test_nobody_adopts_a_spool_that_has_an_owner(tmp_path: Path) -> None:
    file = spool.create(tmp_path)
    file.append(records(1))
    assert spool.try_lock(file.path) is None
    assert list(spool.claim_orphaned(tmp_path)) == []
    file.close()
    assert [path for path, _ in spool.claim_orphaned(tmp_path)] == [file.path]


def test_an_empty_spool_leaves_no_file_behind(tmp_path: Path) -> None:
    spool.create(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_refuses_whole_batches_and_loses_none_that_it_took(tmp_path: Path) -> None:
    file = spool.create(tmp_path)

    def fill() -> None:
        for n in range(0, 10_000, 10):
            file.append(records(10, first=n))

    with disk_ends_at(300_000), pytest.raises(SpoolFailed, match=str(file.path)):
        fill()
    assert 0 < file.count < 1000
    file.append(records(10, first=file.count))  # there is room again
    assert [record for _, record in file.oldest(2000)] == records(file.count)
    file.close()


@pytest.mark.parametrize("size", [300, 60_000])
def test_a_spool_that_filled_its_disk_can_be_emptied(tmp_path: Path, size: int) -> None:
    with small_disk(tmp_path / "disk", 24 * 2**20) as mounted:
        if not mounted:
            pytest.skip("this user may not mount a disk")
        file = spool.create(tmp_path / "disk")

        def fill() -> None:
            while True:
                file.append(records(10, first=file.count, size=size))

        with pytest.raises(SpoolFailed, match=str(file.path)):
            fill()
        assert file.size > 2**20
        while file.count:
            file.remove(file.oldest(500))
        file.append(records(10, size=size))
        file.close()


def test_a_folder_that_cannot_be_made_is_a_failing_disk(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolFailed, match="file"):
        spool.create(tmp_path / "file" / "spool")


def test_a_folder_that_is_gone_is_a_failing_disk_and_keeps_nothing(tmp_path: Path) -> None:
    file = spool.create(tmp_path / "spool")
    shutil.rmtree(tmp_path / "spool")
    with pytest.raises(SpoolFailed, match="spool"):
        file.append(records(10))
    assert file.count == 0


def test_a_damaged_spool_is_set_aside_and_what_can_be_read_is_saved(tmp_path: Path) -> None:
    file = spool.create(tmp_path)
    file.append(records(2000))
    file.close()
    lock = spool.try_lock(file.path)
    assert lock is not None
    size = file.path.stat().st_size
    with file.path.open("r+b") as raw:
        raw.seek(size // 2)
        raw.write(os.urandom(4096))
    with pytest.raises(SpoolDamaged, match=str(file.path)):
        SpoolFile(file.path, lock)
    saved = spool.salvage(file.path)
    assert set(saved) <= set(records(2000))
    assert len(saved) > 1500
    assert spool.quarantine(file.path).exists()
    assert not file.path.exists()
    os.close(lock)


def test_a_file_that_never_was_a_spool_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / f"garbage{spool.SUFFIX}"
    path.write_bytes(os.urandom(10_000))
    [(found, lock)] = spool.claim_orphaned(tmp_path)
    with pytest.raises(SpoolDamaged):
        SpoolFile(found, lock)
    assert spool.salvage(found) == []
    assert spool.quarantine(found) == path.with_suffix(".damaged")
    os.close(lock)


def test_what_is_no_record_any_more_is_not_saved_for_one(tmp_path: Path) -> None:
    path = tmp_path / f"damaged{spool.SUFFIX}"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE record (id INTEGER PRIMARY KEY, spooled_at, topic, key, value)")
        sound = (1.5, "postbacks.sent", b"key", b"value")
        unsound = [(None, *sound[1:]), (1.5, b"\xff", *sound[2:]), (*sound[:3], None), (*sound[:2], 7, b"")]
        db.executemany(
            "INSERT INTO record (spooled_at, topic, key, value) VALUES (?, ?, ?, ?)", [sound, *unsound]
        )
    assert spool.salvage(path) == [Spooled("postbacks.sent", b"key", b"value", 1.5)]

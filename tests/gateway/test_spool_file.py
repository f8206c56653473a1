"""A spool retains appended records through kills, full disks and damage, and has one owner at a time."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gateway.spool import file as spool
from gateway.spool.file import SpoolDamaged, Spooled, SpoolFailed, SpoolFile
from tests.support.small_disk import small_disk
from tests.support.spool import file_size_limit, spooled_records


def test_peek_is_oldest_first_and_remove_deletes(tmp_path: Path) -> None:
    file = spool.create(tmp_path)
    file.append(spooled_records(3))
    file.append(spooled_records(2, first=3))
    assert (file.count, file.oldest_at) == (5, 1000.0)
    published = file.peek(4)
    assert [record for _, record in published] == spooled_records(4)
    file.remove(published)
    assert (file.count, file.size, file.oldest_at) == (1, spooled_records(1, first=4)[0].size, 1004.0)
    file.close()


def test_spool_of_killed_process_is_claimed_whole(tmp_path: Path) -> None:
    killed = """if True:
        import os, signal, sys
        from pathlib import Path
        from gateway.spool import file as spool
        from tests.support.spool import spooled_records
        spool.create(Path(sys.argv[1])).append(spooled_records(100))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", killed, tmp_path], cwd=Path(__file__).parent.parent.parent, check=False
    )
    assert done.returncode == -signal.SIGKILL
    [(path, lock)] = spool.claim_orphaned(tmp_path)
    file = SpoolFile(path, lock)
    assert [record for _, record in file.peek(1000)] == spooled_records(100)
    file.close()


def test_owned_spool_cannot_be_claimed(tmp_path: Path) -> None:
    file = spool.create(tmp_path)
    file.append(spooled_records(1))
    assert spool.try_lock(file.path) is None
    assert list(spool.claim_orphaned(tmp_path)) == []
    file.close()
    assert [path for path, _ in spool.claim_orphaned(tmp_path)] == [file.path]


def test_closing_empty_spool_deletes_its_files(tmp_path: Path) -> None:
    spool.create(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_full_disk_rejects_whole_batches_and_loses_none(tmp_path: Path) -> None:
    file = spool.create(tmp_path)

    def fill() -> None:
        for n in range(0, 10_000, 10):
            file.append(spooled_records(10, first=n))

    with file_size_limit(300_000), pytest.raises(SpoolFailed, match=str(file.path)):
        fill()
    assert 0 < file.count < 1000
    file.append(spooled_records(10, first=file.count))  # the disk has room again
    assert [record for _, record in file.peek(2000)] == spooled_records(file.count)
    file.close()


@pytest.mark.parametrize("size", [300, 60_000])
def test_spool_that_filled_its_disk_can_be_drained(tmp_path: Path, size: int) -> None:
    with small_disk(tmp_path / "disk", 24 * 2**20) as mounted:
        if not mounted:
            pytest.skip("this user may not mount a disk")
        file = spool.create(tmp_path / "disk")

        def fill() -> None:
            while True:
                file.append(spooled_records(10, first=file.count, size=size))

        with pytest.raises(SpoolFailed, match=str(file.path)):
            fill()
        assert file.size > 2**20
        while file.count:
            file.remove(file.peek(500))
        file.append(spooled_records(10, size=size))
        file.close()


def test_uncreatable_directory_fails(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolFailed, match="file"):
        spool.create(tmp_path / "file" / "spool")


def test_append_to_deleted_directory_fails_and_stores_nothing(tmp_path: Path) -> None:
    file = spool.create(tmp_path / "spool")
    shutil.rmtree(tmp_path / "spool")
    with pytest.raises(SpoolFailed, match="spool"):
        file.append(spooled_records(10))
    assert file.count == 0


def test_damaged_spool_is_salvaged_and_quarantined(tmp_path: Path) -> None:
    file = spool.create(tmp_path)
    file.append(spooled_records(2000))
    file.close()
    lock = spool.try_lock(file.path)
    assert lock is not None
    size = file.path.stat().st_size
    with file.path.open("r+b") as raw:
        raw.seek(size // 2)
        raw.write(os.urandom(4096))
    with pytest.raises(SpoolDamaged, match=str(file.path)):
        SpoolFile(file.path, lock)
    salvaged = spool.salvage(file.path)
    assert set(salvaged) <= set(spooled_records(2000))
    assert len(salvaged) > 1500
    assert spool.quarantine(file.path).exists()
    assert not file.path.exists()
    os.close(lock)


def test_file_that_is_no_database_is_quarantined(tmp_path: Path) -> None:
    path = tmp_path / f"garbage{spool.SUFFIX}"
    path.write_bytes(os.urandom(10_000))
    [(found, lock)] = spool.claim_orphaned(tmp_path)
    with pytest.raises(SpoolDamaged):
        SpoolFile(found, lock)
    assert spool.salvage(found) == []
    assert spool.quarantine(found) == path.with_suffix(".damaged")
    os.close(lock)


def test_salvage_skips_rows_of_other_types(tmp_path: Path) -> None:
    path = tmp_path / f"damaged{spool.SUFFIX}"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE record (id INTEGER PRIMARY KEY, spooled_at, topic, key, value)")
        valid = (1.5, "postbacks.sent", b"key", b"value")
        invalid = [(None, *valid[1:]), (1.5, b"\xff", *valid[2:]), (*valid[:3], None), (*valid[:2], 7, b"")]
        db.executemany(
            "INSERT INTO record (spooled_at, topic, key, value) VALUES (?, ?, ?, ?)", [valid, *invalid]
        )
    assert spool.salvage(path) == [Spooled("postbacks.sent", b"key", b"value", 1.5)]

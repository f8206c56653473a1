"""Damages the files of a closed RocksDB as a failing disk does."""

from __future__ import annotations

from pathlib import Path

#: Bytes that are flipped: less than a block, so that the rest of the file stays readable.
FLIPPED = 64


def flip_bytes(store: Path) -> None:
    """Flip bytes in the middle of the largest file of states of a store."""
    path = max(store.glob("*.sst"), key=lambda file: file.stat().st_size)
    contents = bytearray(path.read_bytes())
    middle = len(contents) // 2
    contents[middle : middle + FLIPPED] = bytes(byte ^ 0xFF for byte in contents[middle : middle + FLIPPED])
    path.write_bytes(contents)

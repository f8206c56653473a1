"""Record batches as Kafka stores them in the segments of a topic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from struct import Struct

#: Compression types by their number in a batch's attributes.
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
#: Base offset and length of a batch, which do not count in the length; partition leader epoch, magic, CRC and
#: attributes, which do.
_HEADER = Struct(">qiibih")
_UNCOUNTED_BYTES, _CODEC_MASK = 12, 7


def segments(data: Path, topic: str) -> list[Path]:
    """The files of a topic's log in the data folder of a node."""
    files = data.glob(f"{topic}-*/*.log")  # also of deleted partitions, which have a suffix
    return sorted(file for file in files if file.parent.name.removeprefix(f"{topic}-").isdigit())


def stored_codecs(data: Path, topic: str) -> set[str]:
    """How the batches of a topic are compressed on the disk of a node."""
    return {codec for file in segments(data, topic) for codec in _codecs(file.read_bytes())}


def _codecs(segment: bytes) -> Iterator[str]:
    position = 0
    while position + _HEADER.size <= len(segment):
        _, length, *_, attributes = _HEADER.unpack_from(segment, position)
        yield CODECS[attributes & _CODEC_MASK]
        position += _UNCOUNTED_BYTES + length

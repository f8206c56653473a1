"""Maps keys to partitions as Kafka's default partitioner does, so that all clients agree. Pure."""

from __future__ import annotations

from struct import Struct

_SEED, _M, _MASK = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF
#: Unpacks a key's four-byte words, by their number; covers keys of common length.
_WORDS = [Struct(f"<{count}I") for count in range(64)]


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key: its murmur2 hash modulo the number of partitions.

    aiokafka's implementation hashes byte by byte and takes several times as long.
    """
    length = len(key)
    count = length // 4
    words = _WORDS[count] if count < len(_WORDS) else Struct(f"<{count}I")
    hashed = _SEED ^ length
    for word in words.unpack_from(key):
        word = word * _M & _MASK
        hashed = (hashed * _M & _MASK) ^ ((word ^ word >> 24) * _M & _MASK)
    if rest := key[count * 4 :]:
        hashed = (hashed ^ int.from_bytes(rest, "little")) * _M & _MASK
    hashed = (hashed ^ hashed >> 13) * _M & _MASK
    return ((hashed ^ hashed >> 15) & 0x7FFFFFFF) % partitions

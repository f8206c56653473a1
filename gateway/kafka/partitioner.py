"""Which partition a key belongs to: as Kafka's own clients choose it, so that everybody agrees. Pure."""

from __future__ import annotations

from struct import Struct

_SEED, _M, _MASK = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF
#: The key's four-byte words, for as many of them as keys usually have.
_WORDS = [Struct(f"<{count}I") for count in range(64)]


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of this key, of so many: murmur2, as in Kafka's default partitioner.

    aiokafka has the same, which goes byte by byte and takes several times as long.
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

"""The partition of a key, on which all Kafka clients must agree."""

from __future__ import annotations

from aiokafka.partitioner import murmur2
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.kafka.partitioner import partition_of


@given(st.binary(max_size=300), st.integers(1, 10_000))
@example(b"", 8)
@example(b"acme/9a35e913-ded0-7574-4642-5f60c550c706", 8)
def test_partition_is_that_of_the_default_partitioner(key: bytes, partitions: int) -> None:
    assert partition_of(key, partitions) == (murmur2(key) & 0x7FFFFFFF) % partitions

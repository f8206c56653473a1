"""How record batches are compressed: the names that Kafka uses, and their numbers in a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

Compression: TypeAlias = Literal["none", "gzip", "snappy", "lz4", "zstd"]

#: By name, the number in the attributes of a record batch.
CODECS: Mapping[Compression, int] = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}

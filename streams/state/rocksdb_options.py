"""RocksDB's options, and the memory that the stores of a worker share."""

from __future__ import annotations

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompactionStyle,
    DBCompressionType,
    Options,
    WriteBufferManager,
)

#: Small, as recent keys are found in `WriteCache` or a write buffer; filters are held outside of it.
BLOCK_CACHE_BYTES = 64 * 2**20
#: Soft limit for the write buffers of all partitions together.
WRITE_BUFFERS_BYTES = 128 * 2**20
#: Limit for the write buffer of a partition.
WRITE_BUFFER_BYTES = 32 * 2**20
#: Share of a write buffer that is used for a filter of its keys; allocated even while the buffer is empty.
MEMTABLE_BLOOM = 0.05
#: Sorted runs in a store before some are merged (universal compaction). RocksDB's default, by levels, would
#: merge each new run with everything below, as keys are random: writes would cost more as the store grows.
RUNS = 8


class SharedMemory:
    """A block cache and a budget for write buffers."""

    def __init__(self) -> None:
        self._blocks = Cache(BLOCK_CACHE_BYTES)
        self._write_buffers = WriteBufferManager(WRITE_BUFFERS_BYTES, allow_stall=False)

    @property
    def write_buffers_bytes(self) -> int:
        """Bytes that the write buffers take now."""
        return self._write_buffers.get_usage()

    def options(self, partitions: int, share: float = 1.0) -> Options:
        """The options of a table's stores.

        Args:
            partitions: stores that may be open at once. Half full write buffers of all fit into the budget:
                else RocksDB would write each of them to a file of its own with almost every write.
            share: of the budget, that the table's write buffers may use; those of all tables add up to 1.
        """
        blocks = BlockBasedOptions()
        blocks.set_bloom_filter(10, block_based=False)
        blocks.set_block_cache(self._blocks)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_block_based_table_factory(blocks)
        options.set_compression_type(DBCompressionType.lz4())
        options.set_compaction_style(DBCompactionStyle.universal())
        options.set_level_zero_file_num_compaction_trigger(RUNS)
        half = int(share * WRITE_BUFFERS_BYTES) // partitions
        options.set_write_buffer_size(min(WRITE_BUFFER_BYTES, 2 * half))
        options.set_write_buffer_manager(self._write_buffers)
        options.set_memtable_whole_key_filtering(True)  # most lookups are for new keys
        options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM)
        options.set_keep_log_file_num(2)
        return options

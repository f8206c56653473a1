package benchmark;

import java.util.Map;
import org.apache.kafka.streams.state.RocksDBConfigSetter;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.BloomFilter;
import org.rocksdb.Cache;
import org.rocksdb.CompressionType;
import org.rocksdb.LRUCache;
import org.rocksdb.Options;
import org.rocksdb.RocksDB;

/** Configures RocksDB like streams/state/rocksdb.py: a shared cache, bloom filters, 32 MiB memtables, LZ4. */
public final class Rocks implements RocksDBConfigSetter {
    static {
        RocksDB.loadLibrary();
    }

    private static final Cache CACHE = new LRUCache(256L << 20);

    @Override
    public void setConfig(String store, Options options, Map<String, Object> configs) {
        BlockBasedTableConfig blocks = (BlockBasedTableConfig) options.tableFormatConfig();
        blocks.setBlockCache(CACHE);
        blocks.setFilterPolicy(new BloomFilter(10, false));
        options.setTableFormatConfig(blocks);
        options.setCompressionType(CompressionType.LZ4_COMPRESSION);
        options.setWriteBufferSize(32L << 20);
    }

    @Override
    public void close(String store, Options options) {}
}

"""Tables of joined states: stored locally, with a public compacted topic as changelog.

- `spec`: describes a table: its topic, and how two of its states join
- `table`: Faust's view of all partitions; `partition`: the states of one
- `writer`: the write protocol: lease, produce, store
- `store`: the interface of local stores, and one in memory; `rocksdb`: one on disk, behind `write_cache`
- `rocksdb_options`: RocksDB's options and memory; `unused_stores`: removes stores that are no longer needed
- `folders`: where the stores are, by topic id; `earlier`: joins those of an earlier topic
- `changelog`: restores states from the topic
- `repair`: merges foreign records, and rewrites stale ones
"""

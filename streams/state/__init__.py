"""The states of the messages: in a local store, with the topic `messages` as changelog.

`table` is Faust's view of all partitions, `partition` one of them. `store` is the interface of `rocksdb` and
of the store in memory, `write_cache` sits in front of it. `changelog` restores a partition from the topic,
`catchup` merges what others wrote into it, `repair` rewrites stale records.
"""

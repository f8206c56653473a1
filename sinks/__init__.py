"""Stores Kafka's records in ClickHouse as they are; owns ClickHouse's schema.

| file | contains |
|---|---|
| `worker` | a member of the consumer group: polls, batches, inserts concurrently, commits |
| `batch` | when rows are a batch; pure |
| `commit_tracker` | the offsets that can be committed; pure |
| `writer` | retries outages, isolates invalid rows and dead-letters them |
| `isolate` | which rows of a batch are invalid; pure |
| `rows` | records as rows, and the time of a row; pure |
| `tables` | which topic goes into which table |
| `cluster` | verifies before each insert that Kafka is still the same cluster |
| `texted_monitor` | counts texts after opt-outs and in quiet hours, for alerts |
| `migrate`, `schema/` | applies numbered SQL files |
| `reference_data` | fills the tables of holidays and area codes |
"""

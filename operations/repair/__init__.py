"""Repairs what a reconciliation found, as long as Kafka or ClickHouse still has it.

| file | contains |
|---|---|
| `missing` | records of Kafka whose rows ClickHouse lacks, inserted as the sinks do |
| `states` | states of the topic `messages` that ClickHouse lacks, inserted as the sinks do |
| `stored_events` | postbacks and submissions in ClickHouse, and their records; pure |
| `republish` | events that are in no message, published again |
| `spans` | which offsets to read together; pure |
| `report` | what was done, and what cannot be repaired |
| `run` | all of it, and the reconciliations between |

Nothing counts twice: the tables collapse rows of the same record, states are joined, and an event that is
published again has its event_id and its time.
"""

"""Proves that everything in Kafka is in ClickHouse, and every event in its message.

| file | contains |
|---|---|
| `expected` | which offsets of a partition must be stored, and what the counts prove; pure |
| `partitions` | compares each partition's expected offsets with its rows |
| `offsets` | counts and missing ranges of Kafka's offsets in ClickHouse |
| `kafka` | Kafka's offsets, read in the order that makes them comparable |
| `gaps` | offsets at which a log has no record |
| `event_rows` | the records of events, from the tables that store them; pure |
| `events` | events that are in no message |
| `messages` | keys of the topic `messages` that are not in ClickHouse |
| `report` | the result |
| `run` | all of it, in order |
"""

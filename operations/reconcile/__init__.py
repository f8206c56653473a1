"""Proves that all of Kafka is in ClickHouse, and every event in its message.

| file | holds |
|---|---|
| `expected` | which offsets of a partition must be stored, and what the counts mean; pure |
| `partitions` | each partition's expected offsets against its rows |
| `offsets` | what ClickHouse has of Kafka's coordinates |
| `kafka` | what Kafka says of its logs, read in the order that makes the answers comparable |
| `gaps` | offsets at which a log has no record |
| `events` | events that no message contains |
| `messages` | messages of the topic that ClickHouse does not have |
| `report` | the result, for programs and exit statuses |
| `run` | all of it in order |
"""

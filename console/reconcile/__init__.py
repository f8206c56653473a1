"""`postbacks reconcile`: proves that all of Kafka is in ClickHouse, and all that was said in its message.

| file | holds |
|---|---|
| `span` | which offsets of a partition must be stored, and what counts say of it; pure |
| `partitions` | each partition's span against its rows |
| `stored` | what ClickHouse has of Kafka's coordinates |
| `logs` | what Kafka says of its logs, read in the order that makes the answers comparable |
| `gaps` | offsets at which a log has no record |
| `facts` | events that no message knows |
| `keys` | messages of the topic that ClickHouse does not have |
| `report`, `table` | what was found: for programs and exit statuses, for people |
| `run`, `command` | all of it in order, as the command |
"""

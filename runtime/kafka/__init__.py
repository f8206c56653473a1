"""What all processes share in talking to Kafka.

- `clients`: the options of every client, an admin client, the cluster's id
- `compression`: the codecs of record batches
- `errors`: the clients' errors translated into ours
- `topics`: creates and checks topics; `topic_ids`: tells a topic from an earlier one of its name
- `commit_metadata`: stores a topic id with committed offsets; `topic_watch`: notices a replaced topic
- `header_names`: reads records whose header names are not UTF-8
- `membership`: keeps a consumer from sending an incomplete assignment, makes it rejoin
- `consumer_group`, `group_reader`, `group_monitor`: a group's state, how it is read, and its lag and unowned
  partitions as metrics and health
- `stall_watch`: ends a process that has lag and attempts nothing
- `offsets`, `reader`: log ends, committed offsets and records, read without joining a group
"""

from runtime.kafka import header_names as header_names  # whatever consumer a process opens

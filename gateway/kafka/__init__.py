"""The produce path: records become batches, one buffer for each partition.

`sink` is what the application puts records into, `sender` sends the batches broker by broker and retries
them, `buffer` holds the records of one partition. `partitioner` chooses the partition of a key, `cloudevents`
makes the headers of a record.
"""

"""The disk spool: buffers postbacks durably while Kafka is unavailable.

`file` is one spool in SQLite, `directory` manages the spools of a directory, `sink` chooses between Kafka and
disk and publishes what was spooled.
"""

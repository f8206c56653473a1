"""The disk spool, which takes postbacks while Kafka does not.

`file` is one spool in SQLite, `directory` the spools of one folder, `sink` decides between Kafka and disk.
"""

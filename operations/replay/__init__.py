"""Publishes stored requests again, through the gateway's parser.

`source` reads them from ClickHouse, `stored_request` parses one, `run` publishes them at a limited rate.
"""

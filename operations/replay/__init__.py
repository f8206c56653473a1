"""Publishes stored requests again, through the gateway's parser.

`source` reads them from ClickHouse, `stored_request` parses one, `publish` publishes at a limited rate, and
`run` does all of it.
"""

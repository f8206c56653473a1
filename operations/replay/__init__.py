"""Publishes stored requests again, through the gateway's parser.

`source` reads them from ClickHouse, `stored_request` parses a postback and `rejection` whatever was rejected,
`publish` publishes at a limited rate, and `run` does all of it.
"""

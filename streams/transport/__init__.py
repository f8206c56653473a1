"""What reaches into Faust and aiokafka; `tests/streams/test_transport.py` names what an upgrade breaks.

`app` configures Faust, `consumer` delivers whole fetches, `fetch` unpacks them, `producer` writes batches.
`commit_tracker` knows which offsets may be committed, `lease` how long this worker may write.
"""

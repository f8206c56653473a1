"""Reaches into Faust and aiokafka; `tests/streams/test_transport.py` names what an upgrade breaks.

- `app`: configures Faust
- `consumer`: delivers whole fetches and commits; `fetch` unpacks them
- `producer`: writes batches
- `commit_tracker`: which offsets may be committed
- `lease`: how long this worker may write
"""

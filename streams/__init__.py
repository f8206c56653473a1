"""Correlates postbacks and submissions into messages: any order, and any duplicates, lead to the same state.

- `message` defines a state, `facts` what is in it
- `merge` adds an event to a state, `join` combines two states, `status` derives what follows
- `correlate` turns a batch of records into changed states; `expiry` decides what time changes
- `worker`, `transport`, `state`: batches from Kafka, stored states and their changelog
- `respond` decides about automatic responses, `responder` is the process that sends them
- `sweeper` applies what time changes, by the clock of `watermark`; `watchdog` detects stalls
"""

"""Answers responses by the rules of `streams/respond/`; `python -m streams.responder` is the process.

view         what the topics say about handsets: contacts, and the history of automatic responses
appender     appends records to `auto_responses`
ownership    whether this process still owns the partitions of a batch
responder    decides about a response, and sends the answer at most once
submissions  posts the provider's answers to the gateway
progress     waits until streams has recognised the opt-outs that came before
worker       the member of the consumer group: polls, hands out, commits
"""

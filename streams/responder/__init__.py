"""Answers responses by the rules of `streams/respond/`; `python -m streams.responder` is the process.

clients      Kafka's clients, beside the member of the group
view         what the topics say about handsets: contacts, and the history of automatic responses
contacts     the contacts of the view, in memory
appender     appends records to `auto_responses`
ownership    whether this process still owns the partitions of a batch
responder    decides about a response, and sends the answer at most once
address      the message of an answer
outcomes     records what became of answers
submissions  posts the provider's answers to the gateway
progress     waits until streams has recognised the opt-outs that came before
batch        the responses of one poll
worker       the member of the consumer group: polls, hands out, commits
"""

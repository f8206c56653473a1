"""A simulated provider: posts what the provider would post about its customers' messages, in its wire format.

postback    the bytes of each type of postback
customer    its numbers, and what people write to them
scenario    the postbacks about one message
traffic     interleaves many scenarios into one stream
connection  a keep-alive HTTP connection that behaves like the provider's client
poster      posts, with retries
ledger      what was acknowledged, folded into the expected messages
report      the result of a run, as a table or JSON
run         posts at a rate

As a server, it also takes the calls that send messages:

calls            what the provider takes and answers
behaviour        how it treats a send: by its ReferenceID or number, or by chance
replies          what people write back
outbox           postbacks that are due at a time
send_ledger      each answer, and how often each message was accepted
provider         the server
provider_report  the result of a run as a server
"""

"""A simulated provider: posts what the provider would post about its customers' messages, in its wire format.

postback    the bytes of each type of postback
scenario    the postbacks about one message
traffic     interleaves many scenarios into one stream
connection  a keep-alive HTTP connection that behaves like the provider's client
ledger      what was acknowledged, folded into the expected messages
report      the result of a run, as a table or JSON
run         posts at a rate, with retries
"""

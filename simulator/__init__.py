"""The provider, simulated: what its customers' messages make it post, in its own wire format.

postback    the bytes of each type of postback
scenario    what happens to one message, or one that comes in
traffic     many stories at a time, as one stream of packets
connection  a kept-alive HTTP connection that speaks as the provider does
ledger      what was acknowledged, folded into what the pipeline should say
report      that, for people and for programs
run         posting at a rate
"""

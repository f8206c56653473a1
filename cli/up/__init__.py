"""`postbacks up`: the whole stack on this machine.

`command` runs it, from start to shutdown. `ports` and `stack_file` decide where everything is, `stack` which
processes there are, `simulated` that the answers of --simulate go to a simulated provider, and `drain` stops
them in order. `download`, `screen`, `throughput` and `welcome` are the output.
"""

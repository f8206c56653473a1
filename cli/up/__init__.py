"""`postbacks up`: the whole stack on this machine.

`command` runs it from start to end. `ports` and `stack_file` decide where everything is, `stack` which
processes there are, `supervisor` and `processes` keep them running, `drain` stops them in order. `download`,
`screen`, `throughput` and `welcome` are what people see.
"""

"""What the benchmarks share.

`trials` runs candidates alternately, `result` stores what they measured, `table` and `report` format it.
`machine` describes the machine, and `usage` the CPU and memory of a process. `engines`, `stack` and `worker`
start what is measured. `payloads`, `events` and `backlog` generate its input; `load`, `connection` and
`posting` send it. `drain`, `insert_latency`, `query_latency` and `rate_search` measure.
"""

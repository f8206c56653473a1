"""What the benchmarks are made of.

`trials` lets candidates take turns, `result` holds what they measured, `table` and `report` write it down,
`machine` and `usage` describe the machine and a process. `engines`, `stack` and `worker` start what is
measured. `payloads`, `events` and `backlog` make its input; `load`, `connection` and `posting` send it.
`drain`, `insert_latency`, `query_latency` and `rate_search` measure.
"""

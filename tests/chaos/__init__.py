"""Kill, stop, freeze and fill everything while postbacks come in; then prove that nothing is missing.

`make chaos` is the command. `schedule` decides what happens when (by seed), `pipeline` runs the processes,
`rest` waits until they have come to rest, `verdict` compares what was acknowledged with what Kafka and
ClickHouse have (`stored`), `run` is all of it in order, with its result in `outcome`; `soak` repeats it.

`joins`, `lost_brokers` and `unwritable` are scenarios of their own, each on a `scenario.Stage`,
with `traffic` into partitions by their `placement`. `observer` reads what the groups do meanwhile; `progress`
(commits), `ownership` (assignments) and `groups` (members and lag over a time) judge it.
"""

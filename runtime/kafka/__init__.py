"""What every process does with Kafka besides its own work.

`clients` has the options of every client, `topics` makes and checks topics. `membership` guards a consumer's
assignments; `group_reader` reads a whole group, `consumer_group` is what it finds, `group_monitor` watches
it. `offsets` and `reader` read logs from outside of any group.
"""

"""Apache Kafka on this machine, without an installed Java, Maven or Docker.

`jars` has what Kafka consists of: locked, downloaded once, verified; `lock` resolves and locks it; `java`
finds a Java, `node` runs one node as a process, `server` the single one of `postbacks local kafka`.
"""

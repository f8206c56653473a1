"""Apache Kafka on this machine, without an installed Java, Maven or Docker.

jars       Kafka's jars: locked, downloaded once, verified
lock       resolves the jars and writes the lock file
java       finds a Java
node       runs one node as a process
retention  bounds the disk usage of a node
recovery   rewinds consumer groups after an unclean shutdown
server     the single node of `postbacks local kafka`
"""

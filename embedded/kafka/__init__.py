"""Apache Kafka on this machine, without an installed Java, Maven or Docker.

installation  finds a Java, downloads the locked jars once and verifies them
lock          resolves the jars and writes the lock file
node          runs one node as a process
retention     bounds the disk usage of a node
recovery      rewinds consumer groups after an unclean shutdown
server        the single node of `postbacks local kafka`
"""

"""Engines that `postbacks up` runs without an installation: Apache Kafka and ClickHouse."""

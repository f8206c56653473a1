"""The engines of `postbacks up`, which need no installation: Apache Kafka and ClickHouse."""

"""Tests of `sinks`: records from Kafka to ClickHouse."""

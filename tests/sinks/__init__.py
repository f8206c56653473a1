"""From Kafka to ClickHouse."""

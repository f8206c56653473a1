"""Carries Kafka's records to ClickHouse as they are; owns ClickHouse's schema."""

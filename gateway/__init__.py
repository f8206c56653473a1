"""Turns the provider's HTTP requests into postbacks and publishes them to Kafka, by type."""

"""From an HTTP request to Kafka or disk."""

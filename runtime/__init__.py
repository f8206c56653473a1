"""What every process needs and none owns: settings, logs, metrics, health, Kafka's clients and topics."""

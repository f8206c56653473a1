"""What every process needs and none owns.

- `settings`, `errors`, `logging`, `log_filters`, `metrics`, `multiprocess_metrics`, `health`
- `process` runs one process from start to exit, `supervisor` several; `watchdog` detects stalls
- `retry`, `token_bucket`, `batched`
- `kafka`, `clickhouse`: clients, topics, errors
"""

"""ClickHouse over HTTP.

| file | contains |
|---|---|
| `client` | clients for statements, queries and inserts |
| `lookup_client` | a client for short queries with a time limit |
| `errors` | error codes, translation of the driver's errors, redaction of row data |
| `sql` | quoting |
"""

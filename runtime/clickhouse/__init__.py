"""ClickHouse over HTTP.

| file | contains |
|---|---|
| `client` | clients for statements, queries and inserts |
| `errors` | error codes, translation of the driver's errors, redaction of row data |
| `sql` | quoting |
"""

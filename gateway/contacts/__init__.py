"""`GET /contact/NUMBER`: whether an account may write to a number, for clients with a read token.

| file | contains |
|---|---|
| `endpoint` | the requests and responses |
| `query` | the verdict of one number, from ClickHouse |
| `freshness` | `as_of`: up to when everything acknowledged by Kafka is in ClickHouse; polls Kafka |
| `barriers` | how that follows from offsets; pure |
"""

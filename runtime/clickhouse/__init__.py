"""ClickHouse over HTTP: `client` inserts and translates errors, `redaction` removes row data from them."""

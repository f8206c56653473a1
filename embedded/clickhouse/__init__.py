"""A single-machine ClickHouse: chDB, the engine as a wheel, behind ClickHouse's own HTTP interface.

Clients that speak HTTP to ClickHouse (clickhouse-connect, curl) cannot tell it from a server. Not supported:
the native protocol, clusters, external tables, compressed responses.

    statements   what has to be known about a statement before the engine parses it
    compression  streaming decompression of request bodies
    native       the header block that the engine omits from an empty result
    errors       the engine's errors and their HTTP statuses
    users        authentication and permissions
    sessions     connections that outlive a request
    connection   database and settings of a connection, applied and restored
    upload       the temporary file for inserted data
    engine       runs one statement on one connection
    request      HTTP request -> engine query
    http         engine result -> HTTP response
    server       the process
"""

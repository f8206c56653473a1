"""ClickHouse for one machine: chDB, the engine in a wheel, behind ClickHouse's own HTTP interface.

Enough for clickhouse-connect, curl and whatever else speaks HTTP to ClickHouse: the pipeline cannot tell it
from a server. It has no native protocol, no clusters, no external tables, and does not compress its answers.

    statements   what must be known of a statement before the engine sees it
    compression  the bodies of requests, decompressed piece by piece
    native       the header that the engine leaves out of an empty result
    errors       the engine's errors, and the HTTP status of each
    users        who may do what
    sessions     connections that outlive a request
    connection   what is set on one before a statement, and put back after it
    upload       the file that inserted data is gathered in
    engine       one statement on one connection
    request      an HTTP request, read into what is asked of the engine
    http         the answer to it
    server       the process
"""

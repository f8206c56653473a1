-- Requests and records that are not postbacks, or could not be stored as one. Rows with the same rejection_id merge,
-- whichever record they come from. Retention as of postbacks: reconcile counts a refused row here as stored.
CREATE TABLE IF NOT EXISTS rejected
(
    rejection_id String COMMENT 'Random for a request; a hash of the coordinates for a Kafka record',
    stage        LowCardinality(String) DEFAULT 'gateway' COMMENT 'Stage that rejected it: gateway, streams or sinks',
    received_at  DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the request was received; the timestamp of a Kafka record',
    cluster      SimpleAggregateFunction(any, LowCardinality(String)) COMMENT 'Id of the Kafka cluster',
    reason       SimpleAggregateFunction(any, String) CODEC(ZSTD(1)) COMMENT 'Why; for stage sinks the error of ClickHouse',
    account      SimpleAggregateFunction(any, LowCardinality(String)) COMMENT 'Account of the token, if any',
    client_ip    SimpleAggregateFunction(any, String) CODEC(ZSTD(1)) COMMENT 'IP address that the request came from',
    method       SimpleAggregateFunction(any, LowCardinality(String)) COMMENT 'HTTP method of the request',
    query        SimpleAggregateFunction(any, String) CODEC(ZSTD(1)) COMMENT 'Query of the request',
    headers      SimpleAggregateFunction(any, Map(String, String)) CODEC(ZSTD(1)) COMMENT 'Content-Type, User-Agent, and headers named like fields of the provider',
    body         SimpleAggregateFunction(any, String) CODEC(ZSTD(3)) COMMENT 'Body of the request, or value of the record; empty if it is not UTF-8',
    body_base64  SimpleAggregateFunction(any, String) CODEC(ZSTD(3)) COMMENT 'The same in base64 if it is not UTF-8',
    topic        SimpleAggregateFunction(any, LowCardinality(String)) COMMENT 'Topic of the rejected record; empty for a request',
    partition    SimpleAggregateFunction(any, Int32) DEFAULT -1 CODEC(ZSTD(1)) COMMENT 'Partition of the rejected record, or -1',
    offset       SimpleAggregateFunction(any, Int64) DEFAULT -1 CODEC(ZSTD(1)) COMMENT 'Offset of the rejected record, or -1',
    key          SimpleAggregateFunction(any, String) CODEC(ZSTD(1)) COMMENT 'Key of the rejected record',
    records      SimpleAggregateFunction(groupUniqArrayArray, Array(Tuple(partition UInt16, offset UInt64))) CODEC(ZSTD(1)) COMMENT 'Records of the topic postbacks.rejected that contain this rejection',
    CONSTRAINT one_rejection_with_coordinates CHECK cluster != '' AND rejection_id != '' AND received_at >= '2000-01-01'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (toStartOfHour(received_at), rejection_id, stage)
TTL toDateTime(received_at) + INTERVAL 400 DAY
SETTINGS ttl_only_drop_parts = 1
COMMENT 'Rejected requests and records, with the reason; with FINAL a row per rejection';

-- What could not be taken for a postback, or stored as one. A rejection is its rejection_id: the same one again, from
-- whatever record, joins the row that is there. Kept as long as postbacks: a row that was refused is no hole among them.
CREATE TABLE IF NOT EXISTS rejected
(
    rejection_id String COMMENT 'Of a request: random; of a Kafka record: a hash of its coordinates',
    stage        LowCardinality(String) DEFAULT 'gateway' COMMENT 'Who rejected it: gateway, streams or sinks',
    received_at  DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the request came; of a Kafka record its timestamp',
    cluster      SimpleAggregateFunction(any, LowCardinality(String)) COMMENT 'Id of the Kafka cluster',
    reason       SimpleAggregateFunction(any, String) CODEC(ZSTD(1)) COMMENT 'Why; of stage sinks in the own words of ClickHouse',
    account      SimpleAggregateFunction(any, LowCardinality(String)) COMMENT 'Whose token was used, if any',
    client_ip    SimpleAggregateFunction(any, String) CODEC(ZSTD(1)) COMMENT 'Who sent the request',
    method       SimpleAggregateFunction(any, LowCardinality(String)) COMMENT 'POST, GET, … of the request',
    query        SimpleAggregateFunction(any, String) CODEC(ZSTD(1)) COMMENT 'The query of the request',
    headers      SimpleAggregateFunction(any, Map(String, String)) CODEC(ZSTD(1)) COMMENT 'The headers that matter',
    body         SimpleAggregateFunction(any, String) CODEC(ZSTD(3)) COMMENT 'The body of the request, or the value of the record; empty when it is not UTF-8',
    body_base64  SimpleAggregateFunction(any, String) CODEC(ZSTD(3)) COMMENT 'The same when it is not UTF-8',
    topic        SimpleAggregateFunction(any, LowCardinality(String)) COMMENT 'Topic of the record that was rejected; empty when it was a request',
    partition    SimpleAggregateFunction(any, Int32) DEFAULT -1 CODEC(ZSTD(1)) COMMENT 'Its partition, or -1',
    offset       SimpleAggregateFunction(any, Int64) DEFAULT -1 CODEC(ZSTD(1)) COMMENT 'Its offset, or -1',
    key          SimpleAggregateFunction(any, String) CODEC(ZSTD(1)) COMMENT 'Its key',
    records      SimpleAggregateFunction(groupUniqArrayArray, Array(Tuple(partition UInt16, offset UInt64))) CODEC(ZSTD(1)) COMMENT 'The records of postbacks.rejected that tell of it',
    CONSTRAINT one_rejection_with_coordinates CHECK cluster != '' AND rejection_id != '' AND received_at >= '2000-01-01'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (toStartOfHour(received_at), rejection_id, stage)
TTL toDateTime(received_at) + INTERVAL 400 DAY
SETTINGS ttl_only_drop_parts = 1
COMMENT 'What was rejected, and why; with FINAL a row per rejection';

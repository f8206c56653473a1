-- The provider's answers to sends, a row per Kafka record, stored like `postbacks`. Two rows of an event may differ in
-- what the request added: numbers, text, scheduled_for, and a reference_id that the answer lacks.
CREATE TABLE IF NOT EXISTS submissions
(
    event_id      String CODEC(ZSTD(1)) COMMENT '128-bit hash (hex) of the account and the answer: the same answer has the same id, with or without its request',
    message_id    Nullable(UUID) CODEC(ZSTD(1)) COMMENT 'MessageID; NULL if the answer has none, as some refusals do',
    account       LowCardinality(String) COMMENT 'Account of the token that it was posted with',
    reference_id  String CODEC(ZSTD(1)) COMMENT 'ReferenceID of the answer; if it has none, of the request',
    from_number   String CODEC(ZSTD(1)) COMMENT 'AssignedDID of the request, digits only; empty if unknown',
    to_number     String CODEC(ZSTD(1)) COMMENT 'PhoneNumber of the request, digits only; empty if unknown',
    queued        Bool COMMENT 'Queued',
    error         Nullable(Int64) CODEC(ZSTD(1)) COMMENT 'Number of SMSError; NULL if the answer has an unlisted name',
    error_name    LowCardinality(String) COMMENT 'Name of SMSError; empty if the answer has an unlisted number',
    cancelled     Bool COMMENT 'Cancelled',
    sent          Bool COMMENT 'Sent: whether it already is with the carrier side',
    scheduled_for Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)) COMMENT 'ScheduledDateTime of the request; NULL if it is to be sent at once, or unknown',
    text          String CODEC(ZSTD(1)) COMMENT 'Message of the request, its first 2,000 characters; empty if unknown',
    occurred_at   Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)) COMMENT 'SentDateTime, by the clock of the provider; NULL if unset or unreadable',
    received_at   DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the gateway received it, by our clock',
    client_ip     String CODEC(ZSTD(1)) COMMENT 'IP address that it was posted from',
    query         String CODEC(ZSTD(1)) COMMENT 'Query of the URL that it was posted to, as received',
    body          String CODEC(ZSTD(3)) COMMENT 'The answer about this message, as received; empty if it is not UTF-8',
    body_base64   String CODEC(ZSTD(3)) COMMENT 'The same in base64 if it is not UTF-8',
    extra         Map(String, String) CODEC(ZSTD(1)) COMMENT 'Fields of the answer that the parser does not know',
    cluster       LowCardinality(String) COMMENT 'Id of the Kafka cluster of the record',
    topic         LowCardinality(String) COMMENT 'Topic of the record',
    partition     UInt16 CODEC(ZSTD(1)) COMMENT 'Partition of the record',
    offset        UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Offset of the record',
    INDEX message_id message_id TYPE bloom_filter(0.0001) GRANULARITY 1,
    INDEX reference_id reference_id TYPE bloom_filter(0.001) GRANULARITY 1,
    CONSTRAINT one_submission_with_coordinates CHECK cluster != '' AND event_id != '' AND received_at >= '2000-01-01'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (toStartOfHour(received_at), account, event_id, cluster, topic, partition, offset)
TTL toDateTime(received_at) + INTERVAL 400 DAY
SETTINGS ttl_only_drop_parts = 1
COMMENT 'The answers to sends, a row per Kafka record; with FINAL each record once'

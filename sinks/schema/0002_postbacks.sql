-- Every postback as it came, a row per Kafka record. Rows that Kafka delivered again have the same sorting key and
-- collapse when parts merge (until then FINAL, or the view `events`, leaves them out). A repeat by the provider is
-- another record, so another row, with the same event_id. No deduplication window: after a crash it loses rows.
CREATE TABLE IF NOT EXISTS postbacks
(
    type              Enum8('sent' = 1, 'response' = 2, 'receipt' = 3) COMMENT 'What the provider says: an attempt to send, an answer, a delivery receipt',
    event_id          String CODEC(ZSTD(1)) COMMENT '128-bit hash, hex, of the account and all that the provider said: a repeat has the same one',
    message_id        UUID COMMENT 'The message it is about: MatchedMessageID of a matched response, else MessageID',
    account           LowCardinality(String) COMMENT 'Whose postback it is, by the token in the PostBackURL',
    reference_id      String CODEC(ZSTD(1)) COMMENT 'ReferenceID: free text of the customer, not unique',
    from_number       String CODEC(ZSTD(1)) COMMENT 'FromPhoneNumber, digits only, as sent: a response travels the other way than its message',
    to_number         String CODEC(ZSTD(1)) COMMENT 'ToPhoneNumber, digits only, as sent',
    occurred_at       Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)) COMMENT 'SentTime or ResponseReceiveDate: the clock of the provider; NULL when missing or unreadable',
    received_at       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the gateway had it: our clock',
    client_ip         String CODEC(ZSTD(1)) COMMENT 'Who sent the request',
    query             String CODEC(ZSTD(1)) COMMENT 'The query of the PostBackURL, as it came',
    body              String CODEC(ZSTD(3)) COMMENT 'The body of the request, as it came; empty when it is not UTF-8',
    body_base64       String CODEC(ZSTD(3)) COMMENT 'The body of the request when it is not UTF-8',
    headers           Map(String, String) CODEC(ZSTD(1)) COMMENT 'Request headers that carried fields of the provider',
    extra             Map(String, String) CODEC(ZSTD(1)) COMMENT 'Fields that nobody knows',
    sent              Nullable(Bool) COMMENT 'SMSSent of a sent: handed to the carrier, or refused',
    reply_id          Nullable(UUID) CODEC(ZSTD(1)) COMMENT 'Of a response: its own MessageID',
    matched           Nullable(Bool) COMMENT 'Of a response: whether it answers a message, or somebody wrote by themselves',
    code              LowCardinality(String) COMMENT 'Of a receipt: Code, which decides',
    text              String CODEC(ZSTD(1)) COMMENT 'Of a response: Message; of a receipt: DeliveryReceiptMessage',
    backup_message_id Nullable(UUID) CODEC(ZSTD(1)) COMMENT 'Of a receipt: the message with which the provider tried again from another number',
    cluster           LowCardinality(String) COMMENT 'Id of the Kafka cluster that the record is in',
    topic             LowCardinality(String) COMMENT 'Topic of the record',
    partition         UInt16 CODEC(ZSTD(1)) COMMENT 'Partition of the record',
    offset            UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Offset of the record',
    INDEX message_id message_id TYPE bloom_filter(0.0001) GRANULARITY 1,
    INDEX reference_id reference_id TYPE bloom_filter(0.001) GRANULARITY 1,
    CONSTRAINT one_postback_with_coordinates CHECK cluster != '' AND event_id != '' AND message_id != toUUID('00000000-0000-0000-0000-000000000000') AND received_at >= '2000-01-01'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (type, toStartOfHour(received_at), message_id, account, event_id, cluster, topic, partition, offset)
TTL toDateTime(received_at) + INTERVAL 400 DAY
SETTINGS ttl_only_drop_parts = 1
COMMENT 'Every postback, a row per Kafka record; `events` has a row per event';

-- The keys that an event_id implies are grouped by, so that a filter on them reaches the indices below. The same
-- received_at (row.1) in another record is the same request: the gateway published it again, or a replay did.
CREATE VIEW IF NOT EXISTS events AS
SELECT
    type,
    event_id,
    message_id,
    account,
    argMin(reference_id, row) AS reference_id,
    argMin(from_number, row) AS from_number,
    argMin(to_number, row) AS to_number,
    argMin(tuple(occurred_at), row).1 AS occurred_at,
    min(received_at) AS received_at,
    argMin(client_ip, row) AS client_ip,
    argMin(query, row) AS query,
    argMin(body, row) AS body,
    argMin(body_base64, row) AS body_base64,
    argMin(headers, row) AS headers,
    argMin(extra, row) AS extra,
    argMin(tuple(sent), row).1 AS sent,
    argMin(tuple(reply_id), row).1 AS reply_id,
    argMin(tuple(matched), row).1 AS matched,
    argMin(code, row) AS code,
    argMin(text, row) AS text,
    argMin(tuple(backup_message_id), row).1 AS backup_message_id,
    uniqExact(row.1) AS times
FROM (SELECT *, (received_at, cluster, topic, partition, offset) AS row FROM postbacks)
GROUP BY type, event_id, message_id, account
COMMENT 'A row per event_id: as it was first received, and how many times the provider said it';

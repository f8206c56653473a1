-- Every postback as received, a row per Kafka record. Redelivered rows have the same sorting key and collapse when
-- parts merge; until then FINAL, or the view `events`, leaves them out. A repeat by the provider is another record,
-- hence another row, with the same event_id. No deduplication window: it would lose rows after a crash.
CREATE TABLE IF NOT EXISTS postbacks
(
    type              Enum8('sent' = 1, 'response' = 2, 'receipt' = 3) COMMENT 'sent: an attempt to send a message; response: a reply; receipt: a delivery receipt',
    event_id          String CODEC(ZSTD(1)) COMMENT '128-bit hash (hex) of the account and every field the provider sent: a repeat has the same id',
    message_id        UUID COMMENT 'The message it is about: MatchedMessageID of a matched response, else MessageID',
    account           LowCardinality(String) COMMENT 'Account that the token in the PostBackURL belongs to',
    reference_id      String CODEC(ZSTD(1)) COMMENT 'ReferenceID: free text of the customer, not unique',
    from_number       String CODEC(ZSTD(1)) COMMENT 'FromPhoneNumber, digits only; a response has the numbers of its message swapped',
    to_number         String CODEC(ZSTD(1)) COMMENT 'ToPhoneNumber, digits only',
    occurred_at       Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)) COMMENT 'SentTime or ResponseReceiveDate, by the clock of the provider; NULL if missing or unreadable',
    received_at       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the gateway received it, by our clock',
    client_ip         String CODEC(ZSTD(1)) COMMENT 'IP address that the request came from',
    query             String CODEC(ZSTD(1)) COMMENT 'Query of the PostBackURL, as received',
    body              String CODEC(ZSTD(3)) COMMENT 'Body of the request, as received; empty if it is not UTF-8',
    body_base64       String CODEC(ZSTD(3)) COMMENT 'Body of the request in base64 if it is not UTF-8',
    headers           Map(String, String) CODEC(ZSTD(1)) COMMENT 'Request headers that carried fields of the provider',
    extra             Map(String, String) CODEC(ZSTD(1)) COMMENT 'Fields that the parser does not know',
    sent              Nullable(Bool) COMMENT 'Of a sent: SMSSent, whether the message was handed to the carrier or refused',
    reply_id          Nullable(UUID) CODEC(ZSTD(1)) COMMENT 'Of a response: its own MessageID',
    matched           Nullable(Bool) COMMENT 'Of a response: whether it replies to a message; otherwise it is unsolicited',
    code              LowCardinality(String) COMMENT 'Of a receipt: Code, which is authoritative',
    text              String CODEC(ZSTD(1)) COMMENT 'Of a response: Message; of a receipt: DeliveryReceiptMessage',
    backup_message_id Nullable(UUID) CODEC(ZSTD(1)) COMMENT 'Of a receipt: the message with which the provider retried from another number',
    cluster           LowCardinality(String) COMMENT 'Id of the Kafka cluster of the record',
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

-- Grouped by the keys that an event_id implies, so that filters on them use the indices of the table. The same
-- received_at (row.1) in another record is the same request, published again by the gateway or by a replay.
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
COMMENT 'A row per event_id, as first received, and the number of times the provider sent it';

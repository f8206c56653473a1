-- Decisions about automatic responses, intents to send one, and outcomes: a row per Kafka record, stored like `submissions`.
CREATE TABLE IF NOT EXISTS auto_responses
(
    version             UInt32 CODEC(ZSTD(1)) COMMENT 'Format of the record',
    event_id            String CODEC(ZSTD(1)) COMMENT 'Of the response that it is about, as in `events`',
    account             LowCardinality(String) COMMENT 'Account of the response',
    number              String CODEC(ZSTD(1)) COMMENT 'Number of the handset, in canonical form: digits only, without the leading 1 of 11 digits; empty if unknown',
    own_number          String CODEC(ZSTD(1)) COMMENT 'Our number that the response was sent to, in canonical form',
    outcome             Enum8('declined' = 0, 'intent' = 1, 'unknown' = 2, 'not_sent' = 3, 'refused' = 4, 'accepted' = 5) COMMENT 'Not to be answered; to be sent now; how that ended',
    reason              LowCardinality(String) COMMENT 'Why it was declined or not sent',
    detail              String CODEC(ZSTD(1)) COMMENT 'More about the reason, for people',
    rule                LowCardinality(String) COMMENT 'Name of the rule; empty if none matches',
    day                 LowCardinality(String) COMMENT 'Date in the time zone of the rule, to whose daily cap it counts',
    attempt             String CODEC(ZSTD(1)) COMMENT 'Random id of the intent, which its outcomes have, too',
    text                String CODEC(ZSTD(1)) COMMENT 'The answer',
    message_id          Nullable(UUID) CODEC(ZSTD(1)) COMMENT 'MessageID of the answer, if it was accepted',
    error               LowCardinality(String) COMMENT 'Name of the SMSError, or its number if that is not listed, if it was refused',
    answered_message_id UUID CODEC(ZSTD(1)) COMMENT 'Message that the response is about; of an inbound message its own id',
    reply_id            Nullable(UUID) CODEC(ZSTD(1)) COMMENT 'MessageID of the response',
    occurred_at         Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)) COMMENT 'When the response was sent, by the clock of the provider; NULL if missing or unreadable',
    received_at         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the gateway received the response',
    at                  DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When it was decided, or the outcome became known, by our clock',
    cluster             LowCardinality(String) COMMENT 'Id of the Kafka cluster of the record',
    topic               LowCardinality(String) COMMENT 'Topic of the record',
    partition           UInt16 CODEC(ZSTD(1)) COMMENT 'Partition of the record',
    offset              UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Offset of the record',
    INDEX event_id event_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX message_id message_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX answered_message_id answered_message_id TYPE bloom_filter(0.001) GRANULARITY 1,
    CONSTRAINT known_version CHECK version = 1,
    CONSTRAINT one_record_with_coordinates CHECK cluster != '' AND event_id != '' AND at >= '2000-01-01' AND received_at >= '2000-01-01'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (toStartOfHour(at), account, event_id, cluster, topic, partition, offset)
TTL toDateTime(at) + INTERVAL 400 DAY
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, replicated_deduplication_window = 0
COMMENT 'Decisions about automatic responses, intents and outcomes, a row per Kafka record; with FINAL each record once';

-- Of several records of an event the best known outcome counts, then the earliest record, as in streams/auto_response.py;
-- a test compares the two.
CREATE OR REPLACE VIEW auto_response_outcomes AS
SELECT
    account,
    event_id,
    best.number AS number,
    best.own_number AS own_number,
    CAST(-best.rank, 'Enum8(\'declined\' = 0, \'intent\' = 1, \'unknown\' = 2, \'not_sent\' = 3, \'refused\' = 4, \'accepted\' = 5)') AS outcome,
    best.reason AS reason,
    best.detail AS detail,
    best.rule AS rule,
    best.day AS day,
    best.attempt AS attempt,
    best.text AS text,
    toUUIDOrNull(best.message_id) AS message_id,
    best.error AS error,
    toUUID(best.answered_message_id) AS answered_message_id,
    toUUIDOrNull(best.reply_id) AS reply_id,
    if(empty(best.occurred_at), NULL, toDateTime64OrNull(best.occurred_at, 3, 'UTC')) AS occurred_at,
    best.received_at AS received_at,
    best.at AS at,
    best.version AS version,
    decided_at
FROM
(
    SELECT
        account,
        event_id,
        min(records.at) AS decided_at,
        min(CAST(
            (-toInt8(outcome), records.at, attempt, ifNull(toString(message_id), ''), error, reason, detail, rule, day, text, number, own_number,
                toString(answered_message_id), ifNull(toString(reply_id), ''), ifNull(toString(occurred_at), ''), received_at, version),
            'Tuple(rank Int8, at DateTime64(3, \'UTC\'), attempt String, message_id String, error String, reason String, detail String, rule String, day String, text String, number String, own_number String, answered_message_id String, reply_id String, occurred_at String, received_at DateTime64(3, \'UTC\'), version UInt32)')) AS best
    FROM auto_responses AS records
    GROUP BY account, event_id
)
COMMENT 'A row per response that was decided about, with the best known outcome: accepted, refused, not_sent, unknown, intent, declined. decided_at is the time of its first record';

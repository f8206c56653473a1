-- Every state that streams wrote: partial states of a message, joined by the engine when parts merge, and by the views
-- below when they read. The join is that of streams/join.py; a test compares the two. Rows have no coordinates, as
-- joining the same state twice changes nothing.
CREATE TABLE IF NOT EXISTS message_states
(
    bucket           DateTime('UTC') DEFAULT if(cluster = '', toDateTime(0, 'UTC'), toStartOfHour(first_seen_at)) CODEC(Delta, ZSTD(1)) COMMENT 'Hour of the first_seen_at of this state; other states of the message may be in other hours',
    account          LowCardinality(String) COMMENT 'Account of the message',
    message_id       UUID COMMENT 'MessageID',
    version          SimpleAggregateFunction(max, UInt32) COMMENT 'Format of the state',
    direction        SimpleAggregateFunction(min, Enum8('outbound' = 1, 'inbound' = 2)) COMMENT 'outbound if any state is',
    reference_ranked SimpleAggregateFunction(min, Tuple(rank UInt8, value String)) DEFAULT (if(reference_id = '', 9, reference_rank), reference_id) CODEC(ZSTD(1)) COMMENT 'ReferenceID, and the type of postback that it comes from: 0 sent, 1 receipt, 2 response, 9 none',
    from_ranked      SimpleAggregateFunction(min, Tuple(rank UInt8, value String)) DEFAULT (if(from_number = '', 9, from_rank), from_number) CODEC(ZSTD(1)) COMMENT 'The number it was sent from, ranked likewise',
    to_ranked        SimpleAggregateFunction(min, Tuple(rank UInt8, value String)) DEFAULT (if(to_number = '', 9, to_rank), to_number) CODEC(ZSTD(1)) COMMENT 'The number it was sent to, ranked likewise',
    first_seen_at    SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)) COMMENT 'When the first postback about it was received',
    last_seen_at     SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)) COMMENT 'When the last postback about it was received, repeats included',
    sent_at          SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))) CODEC(ZSTD(1)) COMMENT 'When the first successful attempt was received',
    carrier_at       SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))) CODEC(ZSTD(1)) COMMENT 'When the first receipt 003 or 004 was received',
    delivered_at     SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))) CODEC(ZSTD(1)) COMMENT 'When the first receipt 000 was received',
    failed_at        SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))) CODEC(ZSTD(1)) COMMENT 'When the first final failure was received',
    replied_at       SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))) CODEC(ZSTD(1)) COMMENT 'When the first reply was received',
    overdue_at       SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))) CODEC(ZSTD(1)) COMMENT 'Time by which a receipt should have arrived, according to this state',
    attempted_at     SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))) DEFAULT if(empty(attempts), NULL, arrayMin(attempts.received_at)) CODEC(ZSTD(1)) COMMENT 'received_at of the first attempt',
    receipt_at       SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))) DEFAULT if(empty(receipts), NULL, arrayMin(receipts.received_at)) CODEC(ZSTD(1)) COMMENT 'received_at of the first receipt',
    refusals         SimpleAggregateFunction(groupUniqArrayArray, Array(String)) DEFAULT arrayMap(attempt -> attempt.event_id, arrayFilter(attempt -> NOT attempt.sent, attempts)) CODEC(ZSTD(1)) COMMENT 'event_id of each refused attempt',
    attempts         SimpleAggregateFunction(groupUniqArrayArray, Array(Tuple(received_at DateTime64(3, 'UTC'), event_id String, sent Bool, occurred_at Nullable(DateTime64(3, 'UTC'))))) CODEC(ZSTD(1)) COMMENT 'Facts; an event_id may occur with several times',
    receipts         SimpleAggregateFunction(groupUniqArrayArray, Array(Tuple(received_at DateTime64(3, 'UTC'), event_id String, code String, text String, backup_message_id Nullable(UUID)))) CODEC(ZSTD(1)) COMMENT 'Facts, likewise',
    replies          SimpleAggregateFunction(groupUniqArrayArray, Array(Tuple(received_at DateTime64(3, 'UTC'), event_id String, text String, reply_id Nullable(UUID), occurred_at Nullable(DateTime64(3, 'UTC'))))) CODEC(ZSTD(1)) COMMENT 'Facts, likewise',
    reference_id     String EPHEMERAL COMMENT 'Input of reference_ranked',
    reference_rank   UInt8 EPHEMERAL COMMENT 'Input of reference_ranked',
    from_number      String EPHEMERAL COMMENT 'Input of from_ranked',
    from_rank        UInt8 EPHEMERAL COMMENT 'Input of from_ranked',
    to_number        String EPHEMERAL COMMENT 'Input of to_ranked',
    to_rank          UInt8 EPHEMERAL COMMENT 'Input of to_ranked',
    cluster          String EPHEMERAL COMMENT 'Id of the Kafka cluster; empty if the value was not exactly one state, which makes bucket invalid',
    INDEX message_id message_id TYPE bloom_filter(0.0001) GRANULARITY 1,
    INDEX reference_id reference_ranked.value TYPE bloom_filter(0.001) GRANULARITY 1,
    CONSTRAINT known_version CHECK version <= 1,
    CONSTRAINT one_state_with_coordinates CHECK bucket >= '2000-01-01' AND version > 0 AND message_id != toUUID('00000000-0000-0000-0000-000000000000')
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (bucket, account, message_id)
TTL bucket + INTERVAL 400 DAY
SETTINGS ttl_only_drop_parts = 1
COMMENT 'Partial states of messages; read them through the view `messages`';

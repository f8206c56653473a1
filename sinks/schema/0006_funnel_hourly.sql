-- Recomputed and replaced as a whole: an incremental view would count redelivered rows twice, and would leave a message
-- in its previous hour when an earlier fact arrives.
CREATE MATERIALIZED VIEW IF NOT EXISTS funnel_hourly
REFRESH EVERY 1 MINUTE
(
    hour         DateTime('UTC') COMMENT 'Hour in which the message was first seen',
    account      LowCardinality(String) COMMENT 'Account of the messages',
    messages     UInt64 COMMENT 'Outbound messages',
    sent         UInt64 COMMENT 'Of these, handed to the carrier',
    carrier      UInt64 COMMENT 'Of these, accepted by the carrier according to a receipt',
    delivered    UInt64 COMMENT 'Of these, with status delivered',
    failed       UInt64 COMMENT 'Of these, with status failed',
    cancelled    UInt64 COMMENT 'Of these, cancelled by the provider after three refusals',
    replied      UInt64 COMMENT 'Of these, with a reply',
    overdue      UInt64 COMMENT 'Of these, without a receipt in time',
    orphans      UInt64 COMMENT 'Of these, without a known attempt to send',
    received     UInt64 COMMENT 'Inbound messages',
    delivery_p50 Float64 COMMENT 'Seconds from sent to delivered, median',
    delivery_p95 Float64 COMMENT 'The same, 95th percentile',
    delivery_p99 Float64 COMMENT 'The same, 99th percentile'
)
ENGINE = MergeTree
ORDER BY (hour, account)
AS
SELECT
    * EXCEPT seconds,
    seconds[1] AS delivery_p50,
    seconds[2] AS delivery_p95,
    seconds[3] AS delivery_p99
FROM
(
    SELECT
        toStartOfHour(first_seen_at) AS hour,
        account,
        countIf(direction = 'outbound') AS messages,
        countIf(sent_at IS NOT NULL) AS sent,
        countIf(carrier_at IS NOT NULL) AS carrier,
        countIf(status = 'delivered') AS delivered,
        countIf(status = 'failed') AS failed,
        countIf(status = 'cancelled') AS cancelled,
        countIf(replied_at IS NOT NULL) AS replied,
        countIf(overdue_at IS NOT NULL) AS overdue,
        countIf(orphan) AS orphans,
        countIf(direction = 'inbound') AS received,
        quantilesExactIf(0.5, 0.95, 0.99)(dateDiff('millisecond', sent_at, delivered_at) / 1000, sent_at IS NOT NULL AND delivered_at IS NOT NULL) AS seconds
    FROM $database.messages_between(since = toStartOfHour(now('UTC')) - INTERVAL 7 DAY, until = now('UTC') + INTERVAL 1 HOUR)
    GROUP BY hour, account
)
COMMENT 'Messages of the last seven days by hour and account, recomputed every minute; includes late facts as messages_between does'

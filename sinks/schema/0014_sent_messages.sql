-- Messages by when they were sent, by the provider's clock (SentTime) as opt-outs are, as a postback may come much later;
-- else by when the postback was received. The index skips all but recent states; parts that exist get it when they merge.
-- It has no constant, as ClickHouse would not use it then: hence first_seen_at of messages that were not sent.
ALTER TABLE message_states
    ADD COLUMN IF NOT EXISTS sent_time SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))) DEFAULT arrayReduce('minIf', attempts.occurred_at, attempts.sent) CODEC(ZSTD(1)) COMMENT 'SentTime of the first successful attempt, by the provider\'s clock' AFTER sent_at,
    ADD INDEX IF NOT EXISTS sent_time toUnixTimestamp64Milli(coalesce(sent_time, sent_at, first_seen_at)) TYPE minmax GRANULARITY 1;

CREATE OR REPLACE VIEW sent_states_between AS
SELECT account, message_id, canonical_number(to_ranked.value) AS number, coalesce(states.sent_time, states.sent_at, states.first_seen_at) AS sent_at
FROM message_states AS states
WHERE bucket >= {since:DateTime('UTC')} - INTERVAL 14 DAY AND bucket < {until:DateTime('UTC')} + INTERVAL 14 DAY
    AND states.sent_at IS NOT NULL
    AND toUnixTimestamp64Milli(coalesce(states.sent_time, states.sent_at, states.first_seen_at)) >= toUnixTimestamp64Milli(toDateTime64({since:DateTime('UTC')}, 3, 'UTC'))
    AND toUnixTimestamp64Milli(coalesce(states.sent_time, states.sent_at, states.first_seen_at)) < toUnixTimestamp64Milli(toDateTime64({until:DateTime('UTC')}, 3, 'UTC'))
COMMENT 'sent_states_between(since = …, until = …): partial states of the messages sent in that time. A view that needs few of these messages finds their ids here, and joins their states by sent_messages_between';

CREATE OR REPLACE VIEW sent_messages_between AS
SELECT account, message_id, canonical_number(to_ranked.value) AS number, canonical_number(from_ranked.value) AS own_number,
    assumeNotNull(ifNull(provider_time, received_time)) AS sent_at
FROM
(
    SELECT account, message_id, min(states.from_ranked) AS from_ranked, min(states.to_ranked) AS to_ranked,
        min(states.sent_time) AS provider_time, min(states.sent_at) AS received_time
    FROM message_states AS states
    WHERE bucket >= {since:DateTime('UTC')} - INTERVAL 14 DAY AND bucket < {until:DateTime('UTC')} + INTERVAL 14 DAY
    GROUP BY account, message_id
)
WHERE received_time IS NOT NULL AND sent_at >= {since:DateTime('UTC')} AND sent_at < {until:DateTime('UTC')}
COMMENT 'sent_messages_between(since = …, until = …): a row per message sent in that time, with canonical numbers; sent_at is by the provider\'s clock, or else when the postback was received. Joins the states that begin within 14 days of that time'

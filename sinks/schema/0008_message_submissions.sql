-- Submissions in the states of messages. Facts are tuples, which cannot grow: what a submission adds are new columns.
-- What comes from its request, which no event_id identifies, joins field by field.
ALTER TABLE message_states
    ADD COLUMN IF NOT EXISTS submitted_at SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))) CODEC(ZSTD(1)) COMMENT 'When the first answer to its send was received' AFTER overdue_at,
    ADD COLUMN IF NOT EXISTS withdrawn_at SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))) CODEC(ZSTD(1)) COMMENT 'When the first answer with Cancelled was received' AFTER submitted_at,
    ADD COLUMN IF NOT EXISTS submission_error SimpleAggregateFunction(max, String) CODEC(ZSTD(1)) COMMENT 'Name of the SMSError that refused it, or its number if that is not listed; empty if none did' AFTER withdrawn_at,
    ADD COLUMN IF NOT EXISTS scheduled_for SimpleAggregateFunction(max, Nullable(DateTime64(3, 'UTC'))) CODEC(ZSTD(1)) COMMENT 'ScheduledDateTime of its request' AFTER submission_error,
    ADD COLUMN IF NOT EXISTS text SimpleAggregateFunction(max, String) CODEC(ZSTD(1)) COMMENT 'Message of its request, the first 1,000 characters' AFTER scheduled_for,
    ADD COLUMN IF NOT EXISTS unsent_at SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))) CODEC(ZSTD(1)) COMMENT 'Input of unsent_ranked' AFTER text,
    ADD COLUMN IF NOT EXISTS unsent_ranked SimpleAggregateFunction(min, Tuple(rank Int64, due Int64)) DEFAULT (if(scheduled_for IS NULL, toInt64(9223372036854775807), -toUnixTimestamp64Milli(assumeNotNull(scheduled_for))), if(unsent_at IS NULL, toInt64(9223372036854775807), toUnixTimestamp64Milli(assumeNotNull(unsent_at)))) CODEC(ZSTD(1)) COMMENT 'Time by which an attempt should have come, in milliseconds since 1970, ranked by the scheduled_for that it was derived from: the latest first' AFTER unsent_at,
    ADD COLUMN IF NOT EXISTS submissions SimpleAggregateFunction(groupUniqArrayArray, Array(Tuple(received_at DateTime64(3, 'UTC'), event_id String, queued Bool, error String, cancelled Bool))) CODEC(ZSTD(1)) COMMENT 'Facts, likewise' AFTER replies,
    COMMENT COLUMN reference_ranked 'ReferenceID, and the event that it comes from: 0 sent, 1 receipt, 2 response, 3 submission, 9 none',
    DROP CONSTRAINT IF EXISTS known_version,
    ADD CONSTRAINT IF NOT EXISTS known_version CHECK version <= 2;

-- The join of the states in [from_hour, until_hour). Of several versions of a fact (the same event_id) the earliest
-- wins, then the lowest; lists are ordered by (received_at, event_id) and limited to a hundred.
CREATE OR REPLACE VIEW messages_of_hours AS
SELECT
    version,
    message_id,
    account,
    direction,
    multiIf(
        delivered_at IS NOT NULL, 'delivered',
        failed_at IS NOT NULL, 'failed',
        carrier_at IS NOT NULL, 'in_transit',
        sent_at IS NOT NULL, 'sent',
        length(refusals) >= 3, 'cancelled',
        length(refusals) > 0, 'retrying',
        withdrawn_at IS NOT NULL, 'withdrawn',
        submission_error != '', 'refused',
        submitted_at IS NOT NULL, 'submitted',
        direction = 'inbound', 'received',
        'unknown') AS status,
    reference_ranked.value AS reference_id,
    from_ranked.value AS from_number,
    to_ranked.value AS to_number,
    first_seen_at,
    last_seen_at,
    sent_at,
    carrier_at,
    delivered_at,
    failed_at,
    replied_at,
    if(receipt_at <= awaited_until, NULL, awaited_until) AS overdue_at,
    if(missed_attempt = 9223372036854775807 OR submission_error != '' OR withdrawn_at IS NOT NULL
        OR toUnixTimestamp64Milli(attempted_at) <= missed_attempt OR toUnixTimestamp64Milli(receipt_at) <= missed_attempt,
        NULL, fromUnixTimestamp64Milli(missed_attempt, 'UTC')) AS unsent_at,
    submitted_at,
    withdrawn_at,
    submission_error,
    scheduled_for,
    text,
    arraySlice(arrayFilter((_, telling) -> telling = 1, ordered_attempts, arrayEnumerateUniq(ordered_attempts.event_id)), 1, 100) AS attempts,
    arraySlice(arrayFilter((_, telling) -> telling = 1, ordered_receipts, arrayEnumerateUniq(ordered_receipts.event_id)), 1, 100) AS receipts,
    arraySlice(arrayFilter((_, telling) -> telling = 1, ordered_replies, arrayEnumerateUniq(ordered_replies.event_id)), 1, 100) AS replies,
    arraySlice(arrayFilter((_, telling) -> telling = 1, ordered_submissions, arrayEnumerateUniq(ordered_submissions.event_id)), 1, 100) AS submissions,
    arraySort(id -> toString(id), arrayDistinct(arrayMap(id -> assumeNotNull(id), arrayFilter(id -> id IS NOT NULL, receipts.backup_message_id)))) AS backup_message_ids,
    (direction = 'outbound' AND attempted_at IS NULL AND submitted_at IS NULL)::Bool AS orphan,
    if(reference_id = '', 0, reference_ranked.rank) AS reference_rank,
    if(from_number = '', 0, from_ranked.rank) AS from_rank,
    if(to_number = '', 0, to_ranked.rank) AS to_rank
FROM
(
    SELECT
        account,
        message_id,
        max(version) AS version,
        min(direction) AS direction,
        min(reference_ranked) AS reference_ranked,
        min(from_ranked) AS from_ranked,
        min(to_ranked) AS to_ranked,
        min(first_seen_at) AS first_seen_at,
        max(last_seen_at) AS last_seen_at,
        min(sent_at) AS sent_at,
        min(carrier_at) AS carrier_at,
        min(delivered_at) AS delivered_at,
        min(failed_at) AS failed_at,
        min(replied_at) AS replied_at,
        min(overdue_at) AS awaited_until,
        min(unsent_ranked).2 AS missed_attempt,
        min(submitted_at) AS submitted_at,
        min(withdrawn_at) AS withdrawn_at,
        max(submission_error) AS submission_error,
        max(scheduled_for) AS scheduled_for,
        max(text) AS text,
        min(attempted_at) AS attempted_at,
        min(receipt_at) AS receipt_at,
        groupUniqArrayArray(refusals) AS refusals,
        arraySort(fact -> (fact.received_at, fact.event_id, fact.sent, ifNull(toString(fact.occurred_at), '')),
            groupUniqArrayArray(attempts)) AS ordered_attempts,
        arraySort(fact -> (fact.received_at, fact.event_id, fact.code, fact.text, ifNull(toString(fact.backup_message_id), '')),
            groupUniqArrayArray(receipts)) AS ordered_receipts,
        arraySort(fact -> (fact.received_at, fact.event_id, fact.text, ifNull(toString(fact.reply_id), ''), ifNull(toString(fact.occurred_at), '')),
            groupUniqArrayArray(replies)) AS ordered_replies,
        arraySort(fact -> (fact.received_at, fact.event_id, fact.queued, fact.error, fact.cancelled),
            groupUniqArrayArray(submissions)) AS ordered_submissions
    FROM message_states
    WHERE bucket >= {from_hour:DateTime('UTC')} AND bucket < {until_hour:DateTime('UTC')}
    GROUP BY account, message_id
)
COMMENT 'Messages by the states of some hours only; the basis of `messages` and `messages_between`';

CREATE OR REPLACE VIEW messages AS
SELECT * FROM $database.messages_of_hours(from_hour = toDateTime(0, 'UTC'), until_hour = toDateTime('2106-01-01 00:00:00', 'UTC'))
COMMENT 'A row per account and message, from all its states: always exact. For a time range messages_between is faster';

CREATE OR REPLACE VIEW messages_between AS
SELECT *
FROM $database.messages_of_hours(
    from_hour = toStartOfHour({since:DateTime('UTC')}) - INTERVAL 6 HOUR,
    until_hour = {until:DateTime('UTC')} + INTERVAL 6 HOUR)
WHERE first_seen_at >= {since:DateTime('UTC')} AND first_seen_at < {until:DateTime('UTC')}
COMMENT 'messages_between(since = …, until = …): messages first seen in [since, until), in UTC. Joins only states that begin within six hours of that range: a fact that arrives after streams expired its message (14 days after the last event) counts as another message, in the later range';

CREATE OR REPLACE VIEW messages_by_reference AS
SELECT *
FROM messages
WHERE reference_id = {reference:String}
    AND message_id IN (SELECT message_id FROM message_states WHERE reference_ranked.value = {reference:String})
COMMENT 'messages_by_reference(reference = …): the messages with a ReferenceID, by the index; always exact';

-- Messages linked by BackupMessageID, as in operations/message_chain.py; a test compares the two. The indexes skip all but
-- states that name a backup; parts that exist get them when they merge.
ALTER TABLE message_states
    ADD COLUMN IF NOT EXISTS backups SimpleAggregateFunction(groupUniqArrayArray, Array(UUID)) DEFAULT arrayDistinct(arrayMap(id -> assumeNotNull(id), arrayFilter(id -> id IS NOT NULL, receipts.backup_message_id))) CODEC(ZSTD(1)) COMMENT 'Messages in which the provider retried from another number, according to all versions of its receipts' AFTER refusals,
    ADD INDEX IF NOT EXISTS backups backups TYPE bloom_filter(0.001) GRANULARITY 1,
    ADD INDEX IF NOT EXISTS backup_count length(backups) TYPE minmax GRANULARITY 1;

CREATE OR REPLACE VIEW message_retries AS
SELECT account, message_id, retried.at AS retried_first_seen_at, toUUID(retried.id) AS retried_message_id
FROM
(
    SELECT account, backup_id AS message_id, min(CAST((first_seen_at, toString(naming_id)), 'Tuple(at DateTime64(3, \'UTC\'), id String)')) AS retried
    FROM
    (
        SELECT account, message_id AS naming_id, first_seen_at, arrayJoin(backup_message_ids) AS backup_id
        FROM messages
        WHERE message_id IN (SELECT states.message_id FROM message_states AS states WHERE length(states.backups) > 0)
    )
    WHERE backup_id != naming_id
    GROUP BY account, backup_id
)
COMMENT 'A row per message that a receipt names as BackupMessageID, stored or not, with the message that it retried: of several that name it the first seen one. A message that names itself has no row';

-- Each retry is followed back to the first message, over ten others at most. `retried` is the way back; it ends with a
-- repetition if it is a loop, whose first message is the first seen one.
CREATE OR REPLACE VIEW message_chains AS
WITH RECURSIVE walks AS
(
    SELECT account, message_id, [(retried_first_seen_at, toString(retried_message_id))] AS retried
    FROM message_retries
    UNION ALL
    SELECT walks.account, walks.message_id, arrayPushBack(walks.retried, (step.retried_first_seen_at, toString(step.retried_message_id)))
    FROM walks
    INNER JOIN message_retries AS step ON step.account = walks.account AND step.message_id = toUUID(walks.retried[-1].2)
    WHERE length(walks.retried) <= 10 AND indexOf(walks.retried, walks.retried[-1]) = length(walks.retried)
)
SELECT
    account,
    first_message_id,
    chain[-1].message_id AS last_message_id,
    toUInt32(length(chain)) AS length,
    if(has(statuses, 'delivered'), 'delivered', statuses[-1]) AS status,
    chain.message_id AS message_ids,
    chain.status AS statuses,
    chain[1].reference_id AS reference_id,
    chain[1].to_number AS to_number,
    assumeNotNull(arrayMin(arrayFilter(at -> at IS NOT NULL, chain.first_seen_at))) AS first_seen_at,
    last_seen_at,
    sent_at,
    delivered_at
FROM
(
    SELECT
        account,
        first_message_id,
        arraySort(message -> (message.depth, ifNull(message.first_seen_at, toDateTime64('2299-12-31 00:00:00', 3, 'UTC')), toString(message.message_id)),
            groupArray(CAST((depth, message_id, ifNull(nullIf(stored.status, ''), 'unknown'), nullIf(stored.first_seen_at, toDateTime64(0, 3, 'UTC')), ifNull(stored.reference_id, ''), ifNull(stored.to_number, '')),
                'Tuple(depth UInt8, message_id UUID, status String, first_seen_at Nullable(DateTime64(3, \'UTC\')), reference_id String, to_number String)'))) AS chain,
        max(stored.last_seen_at) AS last_seen_at,
        min(stored.sent_at) AS sent_at,
        min(stored.delivered_at) AS delivered_at
    FROM
    (
        SELECT account, first_message_id, linked.1 AS depth, linked.2 AS message_id
        FROM
        (
            SELECT account, first_message_id, arrayJoin(arrayPushFront(arrayFilter(retry -> retry.2 != first_message_id, groupArray((depth, message_id))), (toUInt64(0), first_message_id))) AS linked
            FROM
            (
                SELECT
                    account,
                    message_id,
                    argMax(retried, length(retried)) AS way_back,
                    indexOf(way_back, way_back[-1]) AS loop_start,
                    loop_start < length(way_back) AS is_loop,
                    if(is_loop, arrayMin(arraySlice(way_back, loop_start, length(way_back) - loop_start)), way_back[-1]) AS first,
                    toUUID(first.2) AS first_message_id,
                    indexOf(way_back, first) AS depth
                FROM walks
                GROUP BY account, message_id
                HAVING is_loop OR length(way_back) <= 10
            )
            GROUP BY account, first_message_id
        )
    ) AS members
    LEFT JOIN
    (
        SELECT account, message_id, status, first_seen_at, last_seen_at, sent_at, delivered_at, reference_id, to_number
        FROM messages
        WHERE message_id IN (SELECT arrayJoin(arrayPushBack(states.backups, states.message_id)) FROM message_states AS states WHERE length(states.backups) > 0)
    ) AS stored USING (account, message_id)
    GROUP BY account, first_message_id
)
COMMENT 'A row per text that the provider retried from other numbers, as receipts name further messages (BackupMessageID): its messages in order, with at most ten retries one after the other. status is the end result: delivered if any of them is, else that of the last one; unknown if nothing is known of that one yet'

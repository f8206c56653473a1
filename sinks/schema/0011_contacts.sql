-- Every state of a contact that streams wrote: partial states, joined by the engine when parts merge, and by the view
-- below when it reads. The join is that of streams/contact.py; a test compares the two. Contacts do not expire, so there
-- is no TTL; and the engine keeps one value of a mark or an untimed opt-out only, as their versions have no bound.
CREATE TABLE IF NOT EXISTS contact_states
(
    account         LowCardinality(String) COMMENT 'Account of the contact',
    number          String COMMENT 'Number of the handset, in canonical form: digits only, without the leading 1 of 11 digits',
    version         SimpleAggregateFunction(max, UInt32) COMMENT 'Format of the state',
    first_seen_at   SimpleAggregateFunction(min, DateTime64(3, 'UTC')) COMMENT 'When the first event was received',
    last_seen_at    SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'When the last event was received, repeats included',
    opted_out_at    SimpleAggregateFunction(max, Nullable(DateTime64(3, 'UTC'))) DEFAULT arrayReduce('max', arrayConcat(
        arrayMap(mark -> toNullable(mark.at), arrayFilter(mark -> mark.signal = 'opted_out', latest)),
        arrayMap(event -> toNullable(event.received_at), arrayFilter(event -> event.signal = 'opted_out', untimed)))) COMMENT 'The last opt-out at any of our numbers, whether or not an opt-in followed',
    facts           SimpleAggregateFunction(groupUniqArrayArray, Array(Tuple(received_at DateTime64(3, 'UTC'), event_id String, signal Enum8('opted_in' = 0, 'yes' = 1, 'suspected' = 2, 'opted_out' = 3), words String, own_number String, source String, source_name String, occurred_at Nullable(DateTime64(3, 'UTC')), message_id Nullable(UUID)))) CODEC(ZSTD(1)) COMMENT 'The earliest events of each state; an event_id may occur with several times and signals',
    marks           SimpleAggregateFunction(maxMap, Map(String, Tuple(at DateTime64(3, 'UTC'), event_id String, words String, own_number String, signal Enum8('opted_in' = 0, 'yes' = 1, 'suspected' = 2, 'opted_out' = 3)))) DEFAULT mapFromArrays(
        arrayMap(mark -> concat(toString(mark.signal), ' ', mark.own_number), latest),
        arrayMap(mark -> (mark.at, mark.event_id, mark.words, mark.own_number, mark.signal), latest)) CODEC(ZSTD(1)) COMMENT 'By signal and number of ours: the last event that has a time of the provider',
    untimed_first   SimpleAggregateFunction(minMap, Map(String, Tuple(received_at DateTime64(3, 'UTC'), own_number String, words String))) DEFAULT mapFromArrays(
        untimed.event_id, arrayMap(event -> (event.received_at, event.own_number, event.words), untimed)) CODEC(ZSTD(1)) COMMENT 'By event_id, of opt-outs without a readable time: the earliest version',
    untimed_signals SimpleAggregateFunction(maxMap, Map(String, Enum8('opted_in' = 0, 'yes' = 1, 'suspected' = 2, 'opted_out' = 3))) DEFAULT mapFromArrays(
        untimed.event_id, untimed.signal) CODEC(ZSTD(1)) COMMENT 'Likewise: the severest signal of all versions',
    complete        SimpleAggregateFunction(max, Bool) DEFAULT cluster != '' COMMENT 'Whether the value was exactly one state; others are refused',
    latest          Array(Tuple(own_number String, signal Enum8('opted_in' = 0, 'yes' = 1, 'suspected' = 2, 'opted_out' = 3), at DateTime64(3, 'UTC'), event_id String, words String)) EPHEMERAL COMMENT 'Input of marks',
    untimed         Array(Tuple(event_id String, own_number String, signal Enum8('opted_in' = 0, 'yes' = 1, 'suspected' = 2, 'opted_out' = 3), received_at DateTime64(3, 'UTC'), words String)) EPHEMERAL COMMENT 'Input of untimed_first and untimed_signals',
    cluster         String EPHEMERAL COMMENT 'Id of the Kafka cluster; empty if the value was not exactly one state',
    CONSTRAINT known_version CHECK version <= 1,
    CONSTRAINT one_state_with_coordinates CHECK complete AND version > 0 AND number != '' AND first_seen_at >= '2000-01-01'
)
ENGINE = AggregatingMergeTree
ORDER BY (account, number)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, replicated_deduplication_window = 0
COMMENT 'Partial states of contacts; read them through the view `contacts`';

-- Of several versions of a fact (the same event_id) the earliest counts, then the one with the severest signal.
CREATE OR REPLACE VIEW contacts AS
SELECT
    version,
    account,
    number,
    first_seen_at,
    last_seen_at,
    arraySlice(arrayFilter((_, telling) -> telling = 1, ordered_facts, arrayEnumerateUniq(ordered_facts.event_id)), 1, 100) AS facts,
    arraySort(mark -> (mark.own_number, toString(mark.signal)), CAST(
        arrayMap(mark -> (mark.own_number, mark.signal, mark.at, mark.event_id, mark.words), mapValues(marks)),
        'Array(Tuple(own_number String, signal Enum8(\'opted_in\' = 0, \'yes\' = 1, \'suspected\' = 2, \'opted_out\' = 3), at DateTime64(3, \'UTC\'), event_id String, words String))')) AS latest,
    CAST(arrayMap((event_id, first, signal) -> (event_id, first.own_number, signal, first.received_at, first.words),
        mapKeys(untimed_first), mapValues(untimed_first), mapValues(untimed_signals)),
        'Array(Tuple(event_id String, own_number String, signal Enum8(\'opted_in\' = 0, \'yes\' = 1, \'suspected\' = 2, \'opted_out\' = 3), received_at DateTime64(3, \'UTC\'), words String))') AS untimed
FROM
(
    SELECT
        account,
        number,
        max(version) AS version,
        min(first_seen_at) AS first_seen_at,
        max(last_seen_at) AS last_seen_at,
        arraySort(fact -> (fact.received_at, fact.event_id, -toInt8(fact.signal), fact.words, fact.own_number, fact.source, fact.source_name, ifNull(toString(fact.occurred_at), ''), ifNull(toString(fact.message_id), '')),
            groupUniqArrayArray(facts)) AS ordered_facts,
        maxMap(marks) AS marks,
        mapSort(minMap(untimed_first)) AS untimed_first,
        mapSort(maxMap(untimed_signals)) AS untimed_signals
    FROM contact_states
    GROUP BY account, number
)
COMMENT 'A row per account and number that has opted out or in, from all its states: always exact. Whether it may be written to is in contact_verdicts';

-- Of opt-outs without a readable time a state has the earliest hundred, and the last one of each signal and number of ours,
-- repetitions included; that counts if there are a hundred, as in streams/contact.py. The engine may keep more than a hundred,
-- from partial states: none of them is later than the last one. An event counts for each of its signals, with which keys begin;
-- those of earlier states do not.
ALTER TABLE contact_states
    ADD COLUMN IF NOT EXISTS untimed_latest Array(Tuple(own_number String, signal Enum8('opted_in' = 0, 'yes' = 1, 'suspected' = 2, 'opted_out' = 3), at DateTime64(3, 'UTC'), event_id String, words String)) EPHEMERAL COMMENT 'Input of marks',
    MODIFY COLUMN marks SimpleAggregateFunction(maxMap, Map(String, Tuple(at DateTime64(3, 'UTC'), event_id String, words String, own_number String, signal Enum8('opted_in' = 0, 'yes' = 1, 'suspected' = 2, 'opted_out' = 3)))) DEFAULT mapFromArrays(
        arrayConcat(
            arrayMap(mark -> concat(toString(mark.signal), ' ', mark.own_number), latest),
            arrayMap(mark -> concat('untimed ', toString(mark.signal), ' ', mark.own_number), untimed_latest)),
        arrayMap(mark -> (mark.at, mark.event_id, mark.words, mark.own_number, mark.signal), arrayConcat(latest, untimed_latest))) CODEC(ZSTD(1)) COMMENT 'By signal and number of ours: the last event that has a time of the provider; after `untimed`, the last opt-out without a readable time, by when it was received',
    MODIFY COLUMN untimed_first SimpleAggregateFunction(minMap, Map(String, Tuple(received_at DateTime64(3, 'UTC'), own_number String, words String))) DEFAULT mapFromArrays(
        arrayMap(event -> concat(toString(event.signal), ' ', event.event_id), untimed), arrayMap(event -> (event.received_at, event.own_number, event.words), untimed)) CODEC(ZSTD(1)) COMMENT 'By event_id and signal, of opt-outs without a readable time: the earliest version',
    MODIFY COLUMN untimed_signals SimpleAggregateFunction(maxMap, Map(String, Enum8('opted_in' = 0, 'yes' = 1, 'suspected' = 2, 'opted_out' = 3))) DEFAULT mapFromArrays(
        arrayMap(event -> concat(toString(event.signal), ' ', event.event_id), untimed), untimed.signal) CODEC(ZSTD(1)) COMMENT 'Likewise: its signal';

CREATE OR REPLACE VIEW contacts AS
SELECT
    version,
    account,
    number,
    first_seen_at,
    last_seen_at,
    arraySlice(arrayFilter((_, telling) -> telling = 1, ordered_facts, arrayEnumerateUniq(ordered_facts.event_id)), 1, 100) AS facts,
    arraySort(mark -> (mark.own_number, toString(mark.signal)), CAST(
        arrayMap(mark -> (mark.own_number, mark.signal, mark.at, mark.event_id, mark.words), mapValues(mapFilter((key, mark) -> NOT startsWith(key, 'untimed '), marks))),
        'Array(Tuple(own_number String, signal Enum8(\'opted_in\' = 0, \'yes\' = 1, \'suspected\' = 2, \'opted_out\' = 3), at DateTime64(3, \'UTC\'), event_id String, words String))')) AS latest,
    arraySlice(arraySort(event -> (event.received_at, event.event_id, event.signal), CAST(
        arrayMap((key, first, signal) -> (substring(key, position(key, ' ') + 1), first.own_number, signal, first.received_at, first.words),
            mapKeys(untimed_first), mapValues(untimed_first), mapValues(untimed_signals)),
        'Array(Tuple(event_id String, own_number String, signal Enum8(\'opted_in\' = 0, \'yes\' = 1, \'suspected\' = 2, \'opted_out\' = 3), received_at DateTime64(3, \'UTC\'), words String))')), 1, 100) AS untimed,
    arraySort(mark -> (mark.own_number, toString(mark.signal)), CAST(
        arrayMap(mark -> (mark.own_number, mark.signal, mark.at, mark.event_id, mark.words), mapValues(mapFilter((key, mark) -> startsWith(key, 'untimed '), marks))),
        'Array(Tuple(own_number String, signal Enum8(\'opted_in\' = 0, \'yes\' = 1, \'suspected\' = 2, \'opted_out\' = 3), at DateTime64(3, \'UTC\'), event_id String, words String))')) AS untimed_latest
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

-- For any of our numbers (own_number empty) with scope = number, an opt-out at one of them counts until an opt-in that counts
-- for the same one, as in runtime/verdict.py: an opt-in at another number does not lift it.
CREATE OR REPLACE VIEW contact_verdicts AS
SELECT
    account,
    number,
    own_number,
    verdict,
    if(empty(decisive), NULL, decisive[1].at) AS since,
    decisive[1].words AS words,
    decisive[1].own_number AS deciding_number
FROM
(
    SELECT
        account,
        number,
        own_number,
        multiIf(notEmpty(out), 'opted_out', notEmpty(suspected), 'suspected', 'ok') AS verdict,
        multiIf(verdict = 'opted_out', out, verdict = 'suspected', suspected, in) AS decisive
    FROM
    (
        SELECT
            account,
            number,
            own_number,
            arrayFilter(mark -> mark.signal = 'opted_in' OR ({yes:Bool} AND mark.signal = 'yes'), latest_first) AS opt_ins,
            arrayFilter(mark -> mark.signal IN ('opted_out', 'suspected') AND NOT arrayExists(
                opt_in -> opt_in.at > mark.at AND ({scope:Enum8('number' = 1, 'account' = 2)} = 'account' OR own_number != '' OR opt_in.own_number IN ('', mark.own_number)),
                opt_ins), latest_first) AS in_force,
            arraySlice(arrayFilter(mark -> mark.signal = 'opted_out', in_force), 1, 1) AS out,
            arraySlice(arrayFilter(mark -> mark.signal = 'suspected', in_force), 1, 1) AS suspected,
            arraySlice(opt_ins, 1, 1) AS in
        FROM
        (
            SELECT
                account,
                number,
                own_number,
                arrayReverseSort(arrayFilter(mark -> {scope:Enum8('number' = 1, 'account' = 2)} = 'account' OR own_number = '' OR mark.own_number IN ('', own_number), marks)) AS latest_first
            FROM
            (
                SELECT
                    account,
                    number,
                    CAST(arrayConcat(mapValues(mapFilter((key, mark) -> length(untimed_first) >= 100 OR NOT startsWith(key, 'untimed '), last_marks)), arrayMap((key, first, signal) -> (first.received_at, substring(key, position(key, ' ') + 1), first.words, first.own_number, signal),
                        mapKeys(untimed_first), mapValues(untimed_first), mapValues(untimed_signals))),
                        'Array(Tuple(at DateTime64(3, \'UTC\'), event_id String, words String, own_number String, signal String))') AS marks,
                    arrayJoin(arrayDistinct(arrayConcat([''], marks.own_number, own_numbers))) AS own_number
                FROM
                (
                    SELECT
                        account,
                        number,
                        maxMap(contact_states.marks) AS last_marks,
                        mapSort(minMap(untimed_first)) AS untimed_first,
                        mapSort(maxMap(untimed_signals)) AS untimed_signals,
                        groupUniqArrayArray(facts.own_number) AS own_numbers
                    FROM contact_states
                    GROUP BY account, number
                )
            )
        )
    )
)
COMMENT 'contact_verdicts(scope = …, yes = …): whether each contact may be written to (ok, suspected, opted_out) from each of our numbers that it has events of, and from any of them (own_number empty), with the event that decides. scope: account, or number if an opt-out counts for one of our numbers only; yes: 1 if the reply YES opts in. A number without events has no row';

CREATE OR REPLACE VIEW texted_after_stop_between AS
WITH
    (SELECT groupArray(toDate32(day)) FROM holidays FINAL WHERE toDayOfWeek(day) <= 5) AS days_off,
    (day -> intDiv(toInt32(day) + 3, 7) * 5 + least((toInt32(day) + 3) % 7, 5)) AS weekdays_before,
    toDate32(opted_out_at, 'America/New_York') AS opted_out_on,
    toDate32(sent_at, 'America/New_York') AS sent_on
SELECT
    account,
    message_id,
    number,
    own_number,
    in_force[1].at AS opted_out_at,
    in_force[1].words AS words,
    sent_at,
    (toUnixTimestamp64Milli(sent_at) - toUnixTimestamp64Milli(opted_out_at)) / 1000 AS seconds_after,
    toUInt32(dateDiff('day', opted_out_on, sent_on)) AS calendar_days,
    toUInt32(weekdays_before(sent_on + 1) - weekdays_before(opted_out_on + 1)
        - arrayCount(day -> day > opted_out_on AND day <= sent_on, days_off)) AS business_days,
    (business_days > 10)::Bool AS beyond_allowance
FROM
(
    SELECT
        account,
        message_id,
        number,
        own_number,
        sent_at,
        arrayFilter(mark -> mark.at <= sent_at AND ({scope:Enum8('number' = 1, 'account' = 2)} = 'account' OR own_number = '' OR mark.own_number IN ('', own_number)), history) AS past,
        arrayFilter(mark -> mark.signal = 'opted_in' OR ({yes:Bool} AND mark.signal = 'yes'), past) AS opt_ins,
        arraySort(arrayFilter(mark -> mark.signal = 'opted_out' AND NOT arrayExists(
            opt_in -> opt_in.at > mark.at AND ({scope:Enum8('number' = 1, 'account' = 2)} = 'account' OR own_number != '' OR opt_in.own_number IN ('', mark.own_number)),
            opt_ins), past)) AS in_force
    FROM $database.sent_messages_between(since = {since:DateTime('UTC')}, until = {until:DateTime('UTC')}) AS sent
    INNER JOIN
    (
        SELECT
            account,
            number,
            CAST(arrayConcat(
                arrayMap(mark -> (mark.at, mark.signal, mark.words, mark.own_number), latest),
                arrayMap(mark -> (mark.at, mark.signal, mark.words, mark.own_number), if(length(untimed) >= 100, untimed_latest, [])),
                arrayMap(event -> (event.received_at, event.signal, event.words, event.own_number), untimed),
                arrayMap(fact -> (ifNull(fact.occurred_at, fact.received_at), fact.signal, fact.words, fact.own_number),
                    arrayFilter(fact -> fact.occurred_at IS NOT NULL OR fact.signal = 'opted_out', facts))),
                'Array(Tuple(at DateTime64(3, \'UTC\'), signal String, words String, own_number String))') AS history
        FROM contacts
        WHERE (account, number) IN (SELECT account, number FROM contact_states WHERE opted_out_at IS NOT NULL)
    ) AS contacts USING (account, number)
    WHERE (account, message_id) IN
    (
        SELECT account, message_id
        FROM $database.sent_states_between(since = {since:DateTime('UTC')}, until = {until:DateTime('UTC')})
        WHERE number = '' OR (account, number) IN (SELECT account, number FROM contact_states WHERE opted_out_at IS NOT NULL)
    )
)
WHERE notEmpty(in_force)
COMMENT 'texted_after_stop_between(scope = …, yes = …, since = …, until = …): as texted_after_stop, of the messages sent in that time; much cheaper for recent days'

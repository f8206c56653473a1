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
COMMENT 'contact_verdicts(scope = …, yes = …): whether each contact may be written to (ok, suspected, opted_out) from each of our numbers that it has events of, and from any of them (own_number empty), with the event that decides. scope: account, or number if an opt-out counts for one of our numbers only; yes: 1 if the reply YES opts in. A number without events has no row'

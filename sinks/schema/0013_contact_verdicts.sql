-- Whether a contact may be written to, as in streams/verdict.py; a test compares the two. The latest opt-out, suspected
-- opt-out and opt-in in scope decide; at a tie the opt-out wins, and of marks of one time the greatest event_id.
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
        multiIf(
            notEmpty(out) AND (empty(in) OR out[1].at >= in[1].at), 'opted_out',
            notEmpty(suspected) AND (empty(in) OR suspected[1].at >= in[1].at), 'suspected',
            'ok') AS verdict,
        multiIf(verdict = 'opted_out', out, verdict = 'suspected', suspected, in) AS decisive
    FROM
    (
        SELECT
            account,
            number,
            own_number,
            arraySlice(arrayFilter(mark -> mark.signal = 'opted_out', latest_first), 1, 1) AS out,
            arraySlice(arrayFilter(mark -> mark.signal = 'suspected', latest_first), 1, 1) AS suspected,
            arraySlice(arrayFilter(mark -> mark.signal = 'opted_in' OR ({yes:Bool} AND mark.signal = 'yes'), latest_first), 1, 1) AS in
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
                    CAST(arrayConcat(mapValues(timed), arrayMap((event_id, first, signal) -> (first.received_at, event_id, first.words, first.own_number, signal),
                        mapKeys(untimed_first), mapValues(untimed_first), mapValues(untimed_signals))),
                        'Array(Tuple(at DateTime64(3, \'UTC\'), event_id String, words String, own_number String, signal String))') AS marks,
                    arrayJoin(arrayDistinct(arrayConcat([''], own_numbers))) AS own_number
                FROM
                (
                    SELECT
                        account,
                        number,
                        maxMap(contact_states.marks) AS timed,
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

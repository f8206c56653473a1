-- Sent after an opt-out that was in force then: one that no opt-in followed up to that time, from the facts and marks of
-- the contact. A repeated opt-out does not begin another period, so days count from the first one in force. Business days
-- are weekdays without federal holidays, both by the calendar of Washington; the first is the one after the opt-out. 47 CFR
-- 64.1200(a)(10) allows up to ten.
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
        arrayReduce('max', arrayMap(mark -> toNullable(mark.at), arrayFilter(mark -> mark.signal = 'opted_in' OR ({yes:Bool} AND mark.signal = 'yes'), past))) AS opted_in_at,
        arraySort(arrayFilter(mark -> mark.signal = 'opted_out' AND (opted_in_at IS NULL OR mark.at >= opted_in_at), past)) AS in_force
    FROM $database.sent_messages_between(since = {since:DateTime('UTC')}, until = {until:DateTime('UTC')}) AS sent
    INNER JOIN
    (
        SELECT
            account,
            number,
            CAST(arrayConcat(
                arrayMap(mark -> (mark.at, mark.signal, mark.words, mark.own_number), latest),
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
COMMENT 'texted_after_stop_between(scope = …, yes = …, since = …, until = …): as texted_after_stop, of the messages sent in that time; much cheaper for recent days';

CREATE OR REPLACE VIEW texted_after_stop AS
SELECT *
FROM $database.texted_after_stop_between(scope = {scope:String}, yes = {yes:UInt8}, since = toDateTime('2000-01-01 00:00:00', 'UTC'), until = toDateTime('2106-01-01 00:00:00', 'UTC'))
COMMENT 'texted_after_stop(scope = …, yes = …): a row per message sent although the recipient had opted out, with the first words of the opt-out in force, and how long after it; beyond_allowance is more than ten business days. scope and yes as in contact_verdicts. Opt-ins and opt-outs between the first hundred events of a contact and its last ones are not known';

CREATE OR REPLACE VIEW texted_after_stop_daily AS
SELECT toDate(sent_at) AS day, account, count() AS messages, countIf(beyond_allowance) AS beyond_allowance, uniqExact(number) AS numbers
FROM $database.texted_after_stop(scope = {scope:String}, yes = {yes:UInt8})
GROUP BY day, account
COMMENT 'texted_after_stop_daily(scope = …, yes = …): messages of texted_after_stop, and their numbers, by day (UTC) and account'

-- Sent before 8 or after 21 o'clock where the number's area code is. Numbers are kept when their owners move, so an area code
-- does not tell where the phone is; and some area codes are in several time zones.
CREATE OR REPLACE VIEW texted_in_quiet_hours_between AS
SELECT
    account,
    message_id,
    number,
    own_number,
    sent_at,
    area_code,
    zones,
    arrayMap(zone -> local_hour(sent_at, zone), zones) AS local_hours,
    arrayAll(hour -> hour < 8 OR hour >= 21, local_hours)::Bool AS certain
FROM
(
    SELECT *, substring(number, 1, 3) AS area_code
    FROM $database.sent_messages_between(since = {since:DateTime('UTC')}, until = {until:DateTime('UTC')})
    WHERE length(number) = 10 AND (account, message_id) IN
    (
        SELECT account, message_id
        FROM (SELECT *, substring(number, 1, 3) AS area_code FROM $database.sent_states_between(since = {since:DateTime('UTC')}, until = {until:DateTime('UTC')})) AS states
        LEFT JOIN (SELECT area_code, zones FROM area_codes FINAL) AS codes USING (area_code)
        WHERE number = '' OR (length(number) = 10 AND arrayExists(zone -> local_hour(sent_at, zone) < 8 OR local_hour(sent_at, zone) >= 21, zones))
    )
) AS sent
INNER JOIN (SELECT area_code, zones FROM area_codes FINAL) AS codes USING (area_code)
WHERE arrayExists(hour -> hour < 8 OR hour >= 21, local_hours)
COMMENT 'texted_in_quiet_hours_between(since = …, until = …): as texted_in_quiet_hours, of the messages sent in that time; much cheaper for recent days';

CREATE OR REPLACE VIEW texted_in_quiet_hours AS
SELECT *
FROM $database.texted_in_quiet_hours_between(since = toDateTime('2000-01-01 00:00:00', 'UTC'), until = toDateTime('2106-01-01 00:00:00', 'UTC'))
COMMENT 'A row per message sent before 8 or after 21 o\'clock where the number\'s area code is: certain if in all of its time zones, otherwise possible. An area code tells where a number was assigned, not where its phone is';

CREATE OR REPLACE VIEW texted_in_quiet_hours_daily AS
SELECT toDate(sent_at) AS day, account, count() AS messages, countIf(certain) AS certain, uniqExact(number) AS numbers
FROM $database.texted_in_quiet_hours
GROUP BY day, account
COMMENT 'Messages of texted_in_quiet_hours, and their numbers, by day (UTC) and account'

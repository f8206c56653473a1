-- Codes with what they mean, as in streams/receipt_codes.py and gateway/sms_errors.py; a test compares them. A view of
-- constants, so that applying this file again leaves no row twice. To change a code, replace it in a new migration.
CREATE OR REPLACE VIEW codes AS
SELECT kind, code, name, status, meaning, action
FROM values('kind String, code String, name String, status String, meaning String, action String',
    ('receipt', '000', 'DeliveredToDevice', 'delivered', 'The phone has it', 'Nothing'),
    ('receipt', '003', 'DeliveredToCarrier', 'in_transit', 'The carrier has it', 'Wait: a receipt of the phone may follow, or never come'),
    ('receipt', '004', 'Accepted', 'in_transit', 'The carrier has accepted it', 'Wait: a receipt of the phone may follow, or never come'),
    ('receipt', '005', 'UndeliverableOrDeleted', 'failed', 'The carrier could not deliver it, or has deleted it', 'Send it again later; if that fails too, check the number'),
    ('receipt', '008', 'Expired', 'failed', 'The phone could not be reached until the message expired', 'Send it again later'),
    ('receipt', '015', 'InvalidServiceType', 'failed', 'The carrier does not allow this kind of message', 'Ask the provider to check the short code with this carrier'),
    ('receipt', '017', 'InvalidCriteria', 'failed', 'The carrier does not accept a field of the message', 'Ask the provider; sending it again fails likewise'),
    ('receipt', '021', 'MessageTooLong', 'failed', 'The carrier takes no message of this length', 'Shorten the text'),
    ('receipt', '023', 'Rejected', 'failed', 'The carrier has rejected it', 'Ask the provider why: the content, the sender, or a block by the subscriber'),
    ('receipt', '024', 'Undeliverable', 'failed', 'The carrier cannot deliver it to this phone', 'Check that the number is a mobile phone in service'),
    ('receipt', '028', 'SenderExceededCarrierThrottle', 'failed', 'The sender has exceeded the carrier\'s rate', 'Send more slowly, then send it again'),
    ('receipt', '029', 'RecipientExceededCarrierThrottle', 'failed', 'The recipient gets too many messages', 'Send it again later'),
    ('receipt', '030', 'SenderAndRecipientExceededCarrierThrottle', 'failed', 'Both the sender\'s and the recipient\'s rates are exceeded', 'Send more slowly, and send it again later'),
    ('receipt', '032', 'InvalidFormatOrContentTooLarge', 'failed', 'The format is not supported, or the content is too large', 'Shorten the text, or send it without Unicode'),
    ('receipt', '090', 'BadAddress', 'failed', 'The address is not valid', 'Correct the number'),
    ('receipt', '091', 'InvalidRouting', 'failed', 'The carrier is not supported from this number', 'The provider tries a backup number, if the account has one; else use a long number'),
    ('receipt', '999', 'CarrierErrorUnknown', 'failed', 'The carrier reports an error without a reason', 'Send it again once; if that fails too, ask the provider'),
    ('SMSError', '0', 'NoError', 'submitted', 'The message is queued', 'Nothing'),
    ('SMSError', '1', 'STOPfromPhoneNumber', 'refused', 'The recipient has sent STOP, and blocks all messages of this licence key', 'Send nothing more to this number until the recipient sends RESUME'),
    ('SMSError', '2', 'LicenseKeyInvalid', 'refused', 'The licence key is unknown', 'Correct the licence key; no send can succeed'),
    ('SMSError', '3', 'PhoneNumberInvalid', 'refused', 'The recipient\'s number is not a phone number that the provider can send to', 'Correct the number: 10 digits, or 1 and 10 digits'),
    ('SMSError', '4', 'MessageInvalid', 'refused', 'The text is empty, too long, or has characters that cannot be sent', 'Correct the text'),
    ('SMSError', '5', 'ScheduledDateTimeIsNotUTC', 'refused', 'The scheduled time is not in UTC', 'Give ScheduledDateTime in UTC, ending in Z'),
    ('SMSError', '6', 'InvalidAssignedDID', 'refused', 'The sender\'s number is not assigned to this licence key', 'Send from a number that is assigned to the licence key'),
    ('SMSError', '7', 'NotFound', 'refused', 'The MessageID is unknown; this answers a query or a cancellation, not a send', 'Check the MessageID'),
    ('SMSError', '8', 'InternalError', 'refused', 'The provider failed', 'Ask the provider what became of it before sending again, as a repeat may arrive twice'),
    ('SMSError', '9', 'AccountSuspended', 'refused', 'The provider has suspended the account', 'Contact the provider; no send can succeed'),
    ('SMSError', '10', 'AssignedDIDRequired', 'refused', 'The send does not name the sender\'s number, and the licence key has no default', 'Give AssignedDID, a number that is assigned to the licence key'))
COMMENT 'Receipt codes (kind receipt) and SMSErrors (kind SMSError): name, the status that follows, meaning, and what to do';

CREATE OR REPLACE VIEW receipts_explained AS
SELECT account, message_id, to_number, receipt.received_at AS received_at, receipt.code AS code, codes.name AS name,
    codes.meaning AS meaning, codes.action AS action, receipt.text AS text
FROM (SELECT account, message_id, to_number, arrayJoin(receipts) AS receipt FROM messages) AS given
LEFT JOIN (SELECT * FROM codes WHERE kind = 'receipt') AS codes ON given.receipt.code = codes.code
COMMENT 'A row per receipt, with the meaning of its code and what to do; empty for codes that the provider does not list';

CREATE OR REPLACE VIEW refused_by_error AS
SELECT account, given.error AS error, error_name, codes.meaning AS meaning, codes.action AS action, refused, first_at, last_at
FROM
(
    SELECT account, error, error_name, ifNull(toString(error), '') AS code, uniqExact(event_id) AS refused,
        min(received_at) AS first_at, max(received_at) AS last_at
    FROM submissions
    WHERE error IS NULL OR error != 0
    GROUP BY account, error, error_name
) AS given
LEFT JOIN (SELECT * FROM codes WHERE kind = 'SMSError') AS codes ON given.code = codes.code
COMMENT 'Refused sends by account and error, also those without a MessageID, with the meaning of the error and what to do';

CREATE OR REPLACE VIEW submitted_hourly AS
SELECT
    toStartOfHour(assumeNotNull(submitted_at)) AS hour,
    account,
    count() AS submitted,
    countIf(submission_error != '') AS refused,
    countIf(withdrawn_at IS NOT NULL) AS withdrawn,
    countIf(notEmpty(attempts)) AS attempted,
    countIf(sent_at IS NOT NULL) AS sent,
    countIf(unsent_at IS NOT NULL) AS unsent
FROM messages
WHERE submitted_at IS NOT NULL
GROUP BY hour, account
COMMENT 'Messages by the hour of their submission and account: submitted against sent. Refusals without a MessageID are in refused_by_error only';

CREATE OR REPLACE VIEW never_reported AS
SELECT account, message_id, reference_id, from_number, to_number, submitted_at, scheduled_for, unsent_at, text
FROM messages
WHERE status = 'submitted' AND unsent_at IS NOT NULL
COMMENT 'Messages that the provider queued and never reported on: neither an attempt nor a receipt, and overdue to be sent';

CREATE OR REPLACE VIEW scheduled AS
SELECT account, message_id, reference_id, from_number, to_number, submitted_at, scheduled_for, text
FROM messages
WHERE status = 'submitted' AND scheduled_for > now()
COMMENT 'Submitted messages that are to be sent later'

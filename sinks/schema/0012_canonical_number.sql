-- The canonical form of a phone number, as in runtime/phone_number.py; a test compares the two. Functions belong to the
-- server, not to a database; a view has the expression instead, from when it was created.
CREATE OR REPLACE FUNCTION canonical_number AS (number) -> if(
    length(replaceRegexpAll(number, '[^0-9]+', '')) = 11 AND startsWith(replaceRegexpAll(number, '[^0-9]+', ''), '1'),
    substring(replaceRegexpAll(number, '[^0-9]+', ''), 2),
    replaceRegexpAll(number, '[^0-9]+', ''));

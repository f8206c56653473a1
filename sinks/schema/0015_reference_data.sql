-- Filled by sinks/reference_data.py when the schema is migrated, again for each version of the libraries.
CREATE TABLE IF NOT EXISTS holidays
(
    day    Date COMMENT 'Day on which it is observed',
    name   String COMMENT 'Its name',
    source LowCardinality(String) COMMENT 'Library and version that it comes from'
)
ENGINE = ReplacingMergeTree
ORDER BY day
COMMENT 'Federal holidays of the US, which are no business days; read it with FINAL';

CREATE TABLE IF NOT EXISTS area_codes
(
    area_code String COMMENT 'The first three of the ten digits of a number',
    zones     Array(LowCardinality(String)) COMMENT 'Its time zones',
    source    LowCardinality(String) COMMENT 'Library and version that it comes from'
)
ENGINE = ReplacingMergeTree
ORDER BY area_code
COMMENT 'Area codes of North America and their time zones; read it with FINAL. An area code tells where a number was assigned, not where its phone is'

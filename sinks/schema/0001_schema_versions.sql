CREATE TABLE IF NOT EXISTS schema_versions
(
    version    UInt32 COMMENT 'Number of the file',
    name       String COMMENT 'Its name',
    applied_at DateTime('UTC') DEFAULT now() COMMENT 'When it was first applied, or last, by processes that started at once'
)
ENGINE = ReplacingMergeTree
ORDER BY version
COMMENT 'Which files of sinks/schema were applied to this database'

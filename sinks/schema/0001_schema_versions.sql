CREATE TABLE IF NOT EXISTS schema_versions
(
    version    UInt32 COMMENT 'Number of the migration',
    name       String COMMENT 'Name of its file',
    applied_at DateTime('UTC') DEFAULT now() COMMENT 'When it was applied'
)
ENGINE = ReplacingMergeTree
ORDER BY version
COMMENT 'Migrations (files of sinks/schema) that were applied to this database'

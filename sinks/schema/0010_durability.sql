-- A part is on the disk before its insert is acknowledged, as the offsets of its rows are then committed; and before it
-- replaces the parts that it merges. No deduplication window either, should the tables become replicated ones.
ALTER TABLE postbacks
MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, replicated_deduplication_window = 0;

ALTER TABLE message_states
MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, replicated_deduplication_window = 0;

ALTER TABLE rejected
MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, replicated_deduplication_window = 0;

ALTER TABLE submissions
MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, replicated_deduplication_window = 0;

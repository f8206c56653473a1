"""The `postbacks` command, one file for each subcommand. No other package imports it.

Besides them: `options` (types of options, access to the settings), `progress` (progress bars) and
`reconcile_table` (the output of `reconcile`).
"""

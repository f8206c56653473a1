"""The `postbacks` command: one file for each subcommand. Nothing imports it."""

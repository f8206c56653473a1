"""The `postbacks` command."""

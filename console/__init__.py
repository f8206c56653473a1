"""All that people look at: the `postbacks` command. Nobody imports it."""

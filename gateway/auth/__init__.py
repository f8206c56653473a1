"""Who may post: accounts and their tokens, from where, and how often.

`accounts` finds the account of a token, `accounts_file` reads them from the settings or a file, `networks`
checks the client's address, `rate_limit` how often an account may post.
"""

"""Admission: which account a request belongs to, from where and how often it may post.

`accounts` authenticates a token, `accounts_file` loads the accounts, `networks` matches client addresses,
`rate_limit` limits each account's rate.
"""

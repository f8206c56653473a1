"""Automatic responses: which response of a person gets an answer, and which one. Pure.

rules       a rule, and all rules with our own numbers
rules_file  reads the rules from TOML, with errors that name line, value and what is allowed
fields      reads the fields of a rule
pattern     regular expressions that take linear time
schedule    the hours, days and time zone of a rule
template    the text of a rule, with its placeholders
matching    whether a rule is for a response, or why not
decide      whether to answer, with which rule, or why not
history     what the records of `auto_responses` say: first intents, caps, what may be sent

The records are those of `streams/auto_response.py`.
"""

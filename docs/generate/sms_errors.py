"""Generates docs/sms-errors.md: every SMSError, what it means and what to do about it."""

from __future__ import annotations

from gateway.sms_errors import SMS_ERRORS

HEAD = """# SMSError

<!-- Written by `make docs` from gateway/sms_errors.py. -->

The provider's verdict on a send, as a number in JSON and as a name in XML. Only NoError means that the
message is queued. Numbers and names are the provider's, what to do about them is our advice. Others may
occur, and are stored as they are. [submissions.md](submissions.md) says how to post the provider's answers.

| number | name | meaning | what to do |
|---|---|---|---|
"""


def page() -> str:
    return HEAD + "".join(
        f"| {error.number} | {', '.join((error.name, *error.aliases))} | {error.meaning} | {error.action} |\n"
        for error in SMS_ERRORS
    )

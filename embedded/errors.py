"""Why an embedded engine cannot run: the one error that both give their caller."""

from runtime.errors import Refused


class CannotServe(Refused):
    """An embedded engine cannot run here; says why, and what to do about it."""

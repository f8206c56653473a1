"""Why an embedded engine cannot run: the one error that both give their caller."""

from runtime.errors import StartupError


class CannotServe(StartupError):
    """An embedded engine cannot run here; says why, and what to do about it."""

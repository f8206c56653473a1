"""Errors that end a process with a message instead of a traceback.

StartupError
├── InvalidSetting    a setting is wrong
├── TopicMismatch     a topic would break correlation
├── KafkaUnavailable  no broker answers, or it cannot do what is needed yet
└── (others where they belong, e.g. the sinks' schema)
"""


class StartupError(Exception):
    """The process must not run like this; the text says what is wrong and what is allowed."""


class InvalidSetting(StartupError):
    """A setting is wrong; the text names the variable, the value and what is allowed."""


class TopicMismatch(StartupError):
    """A topic exists with a configuration that would silently break correlation."""


class KafkaUnavailable(StartupError):
    """No broker answers, or it cannot do what is needed yet; may be retried."""

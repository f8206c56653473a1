"""The errors that end a process with a sentence instead of a traceback.

Refused
├── BadSetting       a setting that cannot be meant
├── TopicMismatch    a topic that would break correlation
├── KafkaAway        no broker answers, or it cannot do what is needed yet
└── (others where they belong, e.g. the sink's schema)
"""


class StartupError(Exception):
    """The process must not run like this; its text says what is wrong and what is allowed."""


class InvalidSetting(StartupError):
    """A setting is wrong; names the variable, the value and what is allowed."""


class TopicMismatch(StartupError):
    """A topic exists otherwise than the pipeline needs it; correlation would break without a sound."""


class KafkaUnavailable(StartupError):
    """No broker answers, or it cannot do what is needed yet; who can wait tries again."""

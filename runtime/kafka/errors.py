"""Translates the errors of Kafka's clients into ours, in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka.errors import KafkaError

from runtime.errors import KafkaUnavailable


@contextmanager
def translate_errors(problem: str = "Kafka does not answer") -> Iterator[None]:
    """Raise the block's errors of Kafka, the network and timeouts as `KafkaUnavailable`.

    Args:
        problem: first words of the error's text; the cause follows.
    """
    try:
        yield
    except (KafkaError, OSError) as error:  # a TimeoutError is an OSError
        raise KafkaUnavailable(f"{problem}: {str(error) or type(error).__name__}") from error

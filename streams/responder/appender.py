"""Appends records to `auto_responses`, each until Kafka acknowledges it."""

from __future__ import annotations

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from runtime.retry import retrying
from streams.auto_response import AUTO_RESPONSES, AutoResponse, auto_response_key, encode_auto_response

MAX_BACKOFF = 1.0

log = structlog.get_logger(__name__)


class Appender:
    """Appending a record again changes nothing: readers join records, and an intent has its attempt id."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        """
        Args:
            producer: started, with `acks="all"` and Kafka's partitioner.
        """
        self._producer = producer
        #: Grows with each attempt to append a record.
        self.attempts = 0

    async def append(self, record: AutoResponse) -> int:
        """Append a record; return its offset once all replicas have it.

        Retries until then, as an attempt that failed may have landed all the same.
        """
        key, value = auto_response_key(record), encode_auto_response(record)
        async for attempt in retrying((KafkaError, OSError), MAX_BACKOFF, before_sleep=_log_failure):
            self.attempts += 1
            with attempt:
                appended = await self._producer.send_and_wait(AUTO_RESPONSES, value, key=key)
        return int(appended.offset)


def _log_failure(state: object) -> None:
    outcome = getattr(state, "outcome", None)
    log.warning("Record not acknowledged, retrying", reason=str(outcome and outcome.exception()))

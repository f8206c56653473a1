"""The responses that one poll returns, with the lease on their partitions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from msgspec import DecodeError

from gateway.postback import RESPONSE, Response, decode, postback_key
from runtime.phone_number import canonical
from streams.responder.ownership import Ownership

Fetched: TypeAlias = Mapping[TopicPartition, list[ConsumerRecord]]


class ResponseBatch:
    def __init__(self, ownership: Ownership, assignment: int, fetched: Fetched) -> None:
        """
        Args:
            assignment: the one that it was fetched under.
        """
        self._ownership = ownership
        self._assignment = assignment
        self._fetched = fetched
        #: False: some responses are not decided about, as the lease was lost.
        self.is_complete = True

    def responses_by_handset(self) -> Iterable[list[Response]]:
        """The responses of each handset, in the order in which they were received."""
        records = (record for records in self._fetched.values() for record in records)
        return group_by_handset(filter(None, map(_decode, records)))

    async def renew(self) -> None:
        await self._ownership.renew(
            self._assignment, {tp: records[0].offset for tp, records in self._fetched.items()}
        )

    def is_valid(self) -> bool:
        return self._ownership.is_valid(self._assignment)

    async def may_decide(self) -> bool:
        """Whether to decide about the next response. Without a lease an answer could only be fenced."""
        if self.is_complete:
            await self.renew()
            self.is_complete = self.is_complete and self.is_valid()
        return self.is_complete

    def rewind(self, consumer: AIOKafkaConsumer) -> None:
        """Let the batch be polled again, unless its partitions were assigned again meanwhile."""
        if self._assignment == self._ownership.assignment:
            for partition, records in self._fetched.items():
                consumer.seek(partition, records[0].offset)

    async def commit(self) -> None:
        """Commit the batch. If that fails, its responses are polled again, or the next commit covers it."""
        await self._ownership.commit(
            self._assignment, {tp: records[-1].offset + 1 for tp, records in self._fetched.items()}
        )


def group_by_handset(responses: Iterable[Response]) -> Iterable[list[Response]]:
    """The responses of each handset, in the order in which they were received, whatever their partitions."""
    found: defaultdict[tuple[str, str], list[Response]] = defaultdict(list)
    for response in sorted(responses, key=lambda response: response.received_at):
        found[response.account, canonical(response.from_number)].append(response)
    return found.values()


def _decode(record: ConsumerRecord) -> Response | None:
    """The response; None if it is none, which streams rejects."""
    if record.value is None:
        return None
    try:
        response = decode(RESPONSE, record.value)
    except DecodeError:
        return None
    return response if isinstance(response, Response) and record.key == postback_key(response) else None

"""The private parts of Faust and aiokafka that we use are unchanged; names what an upgrade breaks."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Any

import aiokafka
import pytest
from aiokafka import client
from aiokafka.consumer import fetcher, group_coordinator, subscription_state
from aiokafka.producer import message_accumulator
from aiokafka.protocol import produce
from faust.stores import base as stores
from faust.tables import base as tables
from faust.tables import manager, recovery
from faust.transport import consumer
from faust.transport.drivers import aiokafka as driver

PINNED = {"aiokafka": "0.14.0", "faust-streaming": "0.15.3", "mode-streaming": "0.7.1"}

CALLED_OR_REPLACED = [
    (driver.AIOKafkaConsumerThread, "_create_worker_consumer", ["self", "transport"]),
    (
        driver.AIOKafkaConsumerThread,
        "_fetch_records",
        ["self", "consumer", "active_partitions", "timeout", "max_records"],
    ),
    (driver.AIOKafkaConsumerThread, "on_start", ["self"]),
    (driver.AIOKafkaConsumerThread, "_ensure_consumer", ["self"]),
    (driver.Consumer, "_new_consumer_thread", ["self"]),
    (driver.Consumer, "_to_message", ["self", "tp", "record"]),
    (driver.Producer, "on_start", ["self"]),
    (driver.Producer, "_ensure_producer", ["self"]),
    (consumer.ThreadDelegateConsumer, "_getmany", ["self", "active_partitions", "timeout"]),
    (consumer.ThreadDelegateConsumer, "_commit", ["self", "offsets"]),
    (consumer.ThreadDelegateConsumer, "seek_wait", ["self", "partitions"]),
    (consumer.ThreadDelegateConsumer, "earliest_offsets", ["self", "partitions"]),
    (consumer.ThreadDelegateConsumer, "highwaters", ["self", "partitions"]),
    (consumer.Consumer, "perform_seek", ["self"]),
    (consumer.Consumer, "stop_flow", ["self"]),
    (consumer.Consumer, "ack", ["self", "message"]),
    (consumer.Consumer, "_add_gap", ["self", "tp", "offset_from", "offset_to"]),
    (consumer.Consumer, "_filter_committable_offsets", ["self", "tps"]),
    (consumer.Consumer, "_is_changelog_tp", ["self", "tp"]),
    (consumer.Consumer, "on_partitions_revoked", ["self", "revoked"]),
    (tables.Collection, "_new_store_by_url", ["self", "url"]),
    (tables.Collection, "on_rebalance", ["self", "assigned", "revoked", "newly_assigned", "generation_id"]),
    (tables.Collection, "on_recovery_completed", ["self", "active_tps", "standby_tps"]),
    (stores.Store, "on_rebalance", ["self", "assigned", "revoked", "newly_assigned", "generation_id"]),
    (stores.SerializedStore, "apply_changelog_batch", ["self", "batch", "to_key", "to_value"]),
    (recovery.Recovery, "active_remaining", ["self"]),
    (group_coordinator.GroupCoordinator, "fetch_committed_offsets", ["self", "partitions"]),
    (group_coordinator.GroupCoordinator, "_perform_assignment", ["self", "response"]),
    (group_coordinator.GroupCoordinator, "_do_rejoin_group", ["self", "subscription"]),
    (group_coordinator.GroupCoordinator, "_maybe_leave_group", ["self"]),
    (group_coordinator.GroupCoordinator, "request_rejoin", ["self"]),
    (client.AIOKafkaClient, "force_metadata_update", ["self"]),
    (client.AIOKafkaClient, "_maybe_wait_metadata", ["self"]),
    (fetcher.Fetcher, "_create_fetch_waiter", ["self"]),
    (fetcher.Fetcher, "fetched_records", ["self", "partitions", "timeout", "max_records"]),
    (fetcher.FetchResult, "getall", ["self", "max_records"]),
    (subscription_state.SubscriptionState, "wait_for_assignment", ["self"]),
    (aiokafka.AIOKafkaProducer, "send_batch", ["self", "batch", "topic", "partition"]),
    (message_accumulator.BatchBuilder, "append", ["self", "timestamp", "key", "value", "headers"]),
    (client.AIOKafkaClient, "send", ["self", "node_id", "request", "group"]),
    (client.AIOKafkaClient, "set_topics", ["self", "topics"]),
    (client.AIOKafkaClient, "ready", ["self", "node_id", "group"]),
    (produce.ProduceRequest, "__init__", ["self", "transactional_id", "required_acks", "timeout", "topics"]),
]

#: Attributes, by a part of the source that sets or reads them.
READ_OR_SET: list[tuple[Any, str]] = [
    (aiokafka.AIOKafkaConsumer.__init__, "self._fetch_max_wait_ms ="),
    (aiokafka.AIOKafkaConsumer.start, "self._fetch_max_wait_ms"),
    (aiokafka.AIOKafkaConsumer.__init__, "self._fetch_min_bytes ="),
    (aiokafka.AIOKafkaConsumer.start, "self._fetch_min_bytes"),
    (aiokafka.AIOKafkaConsumer.__init__, "self._fetch_max_bytes ="),
    (aiokafka.AIOKafkaConsumer.start, "self._fetch_max_bytes"),
    (client.AIOKafkaClient.send, "self._conns[(node_id, group)]"),
    (aiokafka.AIOKafkaConsumer, "self._coordinator ="),
    (group_coordinator.GroupCoordinator.__init__, "self._session_timeout_ms ="),
    (group_coordinator.GroupCoordinator._perform_assignment, "self._group_subscription ="),
    (group_coordinator.GroupCoordinator._do_rejoin_group, "await rebalance.perform_group_join()"),
    (group_coordinator.CoordinatorGroupRebalance._on_join_leader, "raise Errors.KafkaError(repr(e)) from e"),
    (group_coordinator.BaseCoordinator, "self._cluster ="),
    (aiokafka.AIOKafkaConsumer, "self._subscription ="),
    (aiokafka.AIOKafkaConsumer, "self._fetcher ="),
    (fetcher.Fetcher.__init__, "self._records ="),
    (fetcher.FetchResult.__init__, "self._partition_records ="),
    (fetcher.FetchResult.getall, "for msg in self._partition_records:"),
    (fetcher.FetchResult._update_position, "self._partition_records.next_fetch_offset"),
    (fetcher.PartitionRecords.__init__, "self._records ="),
    (fetcher.PartitionRecords.__init__, "self._check_crcs ="),
    (fetcher.PartitionRecords._unpack_records, "next_batch.validate_crc()"),
    (subscription_state.TopicPartitionState, "def has_valid_position"),
    (subscription_state.TopicPartitionState, "def position"),
    (subscription_state.SubscriptionState, "def reassignment_in_progress"),
    (aiokafka.AIOKafkaProducer.__init__, "self._message_accumulator ="),
    (message_accumulator.MessageAccumulator, "self._batch_ttl"),
    (message_accumulator.MessageBatch.expired, "self._ttl"),
    (consumer.Consumer.perform_seek, "self._committed_offset.update"),
    (consumer.Consumer.__init__, "self._acked_index ="),
    (consumer.Consumer._filter_tps_with_pending_acks, "for tp in self._acked"),
    (driver.AIOKafkaConsumerThread._commit, "await consumer.commit(aiokafka_offsets)"),
    (recovery.Recovery.__init__, "self.active_offsets ="),
    (recovery.Recovery._build_highwaters, "await consumer.highwaters(*tps)"),
    (recovery.Recovery._build_offsets, "last_value = destination[tp]"),
    (consumer.Consumer._commit_tps, "self._filter_committable_offsets"),
    (manager.TableManager, "def recovery"),
]


@pytest.mark.parametrize("package", PINNED)
def test_installed_version_is_the_pinned_one(package: str) -> None:
    assert version(package) == PINNED[package]


@pytest.mark.parametrize(("owner", "name", "parameters"), CALLED_OR_REPLACED)
def test_used_method_has_the_expected_parameters(owner: type, name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


@pytest.mark.parametrize(("owner", "words"), READ_OR_SET)
def test_used_attribute_exists(owner: Any, words: str) -> None:
    assert words in inspect.getsource(owner)


def test_assignment_is_returned_without_an_await() -> None:
    # So `Membership` checks the metadata that the assignment was computed from.
    source = inspect.getsource(group_coordinator.GroupCoordinator._perform_assignment)
    assert "await" not in source[source.index("assignments = assignor.assign(") :]


def test_fetched_records_are_taken_without_an_await() -> None:
    # A batch's range is how far its position moves while it is taken. So the only await before that may be
    # for an assignment, which is complete by then; see `ConsumerThread._drain`.
    source = inspect.getsource(fetcher.Fetcher.fetched_records)
    before = source[: source.index("if drained or not timeout")]
    assert before.count("await") == 1
    assert "await self._subscriptions.wait_for_assignment()" in before


def test_log_ends_are_known_before_stores_are_compared() -> None:
    # So `StateTable.on_log_ends` can set aside a store that is beyond the end of its log.
    source = inspect.getsource(recovery.Recovery)
    ends, offsets, check = map(
        source.index, ("T(self._build_highwaters)", "T(self._build_offsets)", "raise ConsistencyError")
    )
    assert ends < offsets < check

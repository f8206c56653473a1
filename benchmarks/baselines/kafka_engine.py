"""ClickHouse's own Kafka engine: a table that reads the topics, and a view that inserts its rows elsewhere.

As in our sink, ClickHouse parses the values; the engine provides the coordinates as virtual columns.
"""

from __future__ import annotations

from clickhouse_connect.driver.client import Client

from gateway.postback import POSTBACK_TOPICS

#: The columns that come from the JSON of a postback.
FIELDS = """
    type String, event_id String, message_id UUID, account String, reference_id String, from_number String,
    to_number String, occurred_at Nullable(DateTime64(3, 'UTC')), received_at DateTime64(3, 'UTC'),
    client_ip String, query String, body String, body_base64 String, headers Map(String, String),
    extra Map(String, String), sent Nullable(Bool), reply_id Nullable(UUID), matched Nullable(Bool),
    code String, text String, backup_message_id Nullable(UUID)
"""


def create(client: Client, kafka: str, group: str) -> None:
    """Start to read the topics into `postbacks` of the client's database.

    Raises:
        clickhouse_connect.driver.exceptions.DatabaseError: this ClickHouse has no such engine.
    """
    client.command(
        f"CREATE TABLE kafka_postbacks ({FIELDS}) ENGINE = Kafka SETTINGS "
        f"kafka_broker_list = '{kafka}', kafka_topic_list = '{','.join(POSTBACK_TOPICS)}', "
        f"kafka_group_name = '{group}', kafka_format = 'JSONEachRow', kafka_max_block_size = 50000, "
        "kafka_flush_interval_ms = 1000, date_time_input_format = 'best_effort'"
    )
    client.command(
        "CREATE MATERIALIZED VIEW kafka_postbacks_moved TO postbacks AS "
        "SELECT *, 'benchmark' AS cluster, _topic AS topic, _partition AS partition, _offset AS offset "
        "FROM kafka_postbacks"
    )

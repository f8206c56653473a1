package benchmark;

import java.util.List;
import java.util.Properties;
import java.util.Scanner;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * Correlates postbacks into messages with Kafka Streams. As with ours, the table's changelog is the output.
 *
 * <p>Each line of standard input names an application: the previous one is closed, and this one starts in the
 * same JVM with an empty table. So the first pass is cold, and later ones are warm. Exits at the end of input.
 */
public final class Correlation {
    private static final List<String> TOPICS = List.of("postbacks.sent", "postbacks.response", "postbacks.receipt");

    private Correlation() {}

    public static void main(String[] arguments) {
        String brokers = arguments[0], folder = arguments[1], threads = arguments[2];
        KafkaStreams running = null;
        Scanner names = new Scanner(System.in);
        while (names.hasNextLine()) {
            if (running != null) {
                running.close();
            }
            running = new KafkaStreams(topology(), settings(names.nextLine(), brokers, folder, threads));
            running.start();
        }
        System.exit(0);
    }

    private static Topology topology() {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(TOPICS, Consumed.with(Serdes.Bytes(), Json.of(Postback.class)))
                .groupByKey(Grouped.with(Serdes.Bytes(), Json.of(Postback.class)))
                .aggregate(
                        Message::new,
                        (key, postback, message) -> message.merge(postback),
                        Materialized.<Bytes, Message, KeyValueStore<Bytes, byte[]>>as("messages")
                                .withKeySerde(Serdes.Bytes())
                                .withValueSerde(Json.of(Message.class))
                                .withCachingEnabled());
        return builder.build();
    }

    private static Properties settings(String name, String brokers, String folder, String threads) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, name);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, folder);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, threads);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "1000");
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, String.valueOf(128 << 20));
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, "5000");
        settings.put(StreamsConfig.ROCKSDB_CONFIG_SETTER_CLASS_CONFIG, Rocks.class.getName());
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        settings.put(StreamsConfig.consumerPrefix("max.partition.fetch.bytes"), String.valueOf(4 << 20));
        settings.put(StreamsConfig.consumerPrefix("max.poll.records"), "10000");
        settings.put(StreamsConfig.producerPrefix("acks"), "all");
        settings.put(StreamsConfig.producerPrefix("batch.size"), String.valueOf(128 << 10));
        settings.put(StreamsConfig.producerPrefix("linger.ms"), "50");
        settings.put(StreamsConfig.producerPrefix("buffer.memory"), String.valueOf(64 << 20));
        return settings;
    }
}

package benchmark;

import com.fasterxml.jackson.annotation.JsonInclude;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** The state of a message, with the fields of streams/message.py and the rules of streams/merge.py, modified in place. */
@JsonInclude(JsonInclude.Include.NON_EMPTY)
public final class Message {
    private static final int SENT = 0, RECEIPT = 1, RESPONSE = 2, MAX_FACTS = 100;
    private static final Map<String, Integer> RANKS = Map.of("sent", SENT, "receipt", RECEIPT, "response", RESPONSE);
    private static final Set<String> IN_TRANSIT = Set.of("003", "004");
    private static final Set<String> FAILED = Set.of("005", "008", "015", "017", "021", "023", "024", "028", "029",
            "030", "032", "090", "091", "999");

    public int version = 1;
    public String message_id;
    public String account;
    public String direction = "inbound";
    public String status;
    public String reference_id = "";
    public String from_number = "";
    public String to_number = "";
    public int reference_rank;
    public int from_rank;
    public int to_rank;
    public String first_seen_at;
    public String last_seen_at;
    public String sent_at;
    public String carrier_at;
    public String delivered_at;
    public String failed_at;
    public String replied_at;
    public List<Fact> attempts = new ArrayList<>();
    public List<Fact> receipts = new ArrayList<>();
    public List<Fact> replies = new ArrayList<>();
    public boolean orphan;

    Message merge(Postback postback) {
        String at = postback.received_at;
        int rank = RANKS.get(postback.type);
        message_id = postback.message_id;
        account = postback.account;
        first_seen_at = earliest(first_seen_at, at);
        last_seen_at = last_seen_at == null || at.compareTo(last_seen_at) > 0 ? at : last_seen_at;
        boolean inbound = rank == RESPONSE && !postback.matched;
        if (!inbound) {
            direction = "outbound";
        }
        boolean swapped = rank == RESPONSE && postback.matched;
        String from = swapped ? postback.to_number : postback.from_number;
        String to = swapped ? postback.from_number : postback.to_number;
        if (better(postback.reference_id, rank, reference_id, reference_rank)) {
            reference_id = postback.reference_id;
            reference_rank = rank;
        }
        if (better(from, rank, from_number, from_rank)) {
            from_number = from;
            from_rank = rank;
        }
        if (better(to, rank, to_number, to_rank)) {
            to_number = to;
            to_rank = rank;
        }
        Fact fact = Fact.of(postback);
        switch (rank) {
            case SENT -> {
                add(attempts, fact);
                if (postback.sent) {
                    sent_at = earliest(sent_at, at);
                }
            }
            case RECEIPT -> {
                add(receipts, fact);
                if ("000".equals(postback.code)) {
                    delivered_at = earliest(delivered_at, at);
                } else if (IN_TRANSIT.contains(postback.code)) {
                    carrier_at = earliest(carrier_at, at);
                } else if (FAILED.contains(postback.code)) {
                    failed_at = earliest(failed_at, at);
                }
            }
            default -> {
                add(replies, fact);
                if (postback.matched) {
                    replied_at = earliest(replied_at, at);
                }
            }
        }
        orphan = direction.equals("outbound") && attempts.isEmpty();
        status = derivedStatus();
        return this;
    }

    private static boolean better(String value, int rank, String known, int knownRank) {
        if (value == null || value.isEmpty()) {
            return false;
        }
        return known.isEmpty() || rank < knownRank || rank == knownRank && value.compareTo(known) < 0;
    }

    private static String earliest(String known, String at) {
        return known == null || at.compareTo(known) < 0 ? at : known;
    }

    private static void add(List<Fact> facts, Fact fact) {
        for (Fact known : facts) {
            if (known.event_id.equals(fact.event_id)) {
                if (fact.received_at.compareTo(known.received_at) < 0) {
                    known.received_at = fact.received_at;
                    Collections.sort(facts);
                }
                return;
            }
        }
        facts.add(fact);
        if (facts.size() > 1) {
            Collections.sort(facts);
        }
        if (facts.size() > MAX_FACTS) {
            facts.remove(MAX_FACTS);
        }
    }

    private String derivedStatus() {
        if (delivered_at != null) {
            return "delivered";
        }
        if (failed_at != null) {
            return "failed";
        }
        if (carrier_at != null) {
            return "in_transit";
        }
        if (sent_at != null) {
            return "sent";
        }
        if (!attempts.isEmpty()) {
            return attempts.size() >= 3 ? "cancelled" : "retrying";
        }
        return direction.equals("inbound") ? "received" : "unknown";
    }
}

package benchmark;

import com.fasterxml.jackson.annotation.JsonInclude;

/** An event inside a message. Duplicates are one fact, with the earliest time. */
@JsonInclude(JsonInclude.Include.NON_NULL)
public final class Fact implements Comparable<Fact> {
    private static final int MAX_TEXT = 1000;

    public String received_at;
    public String event_id;
    public Boolean sent;
    public String occurred_at;
    public String code;
    public String text;
    public String backup_message_id;
    public String reply_id;

    static Fact of(Postback postback) {
        Fact fact = new Fact();
        fact.received_at = postback.received_at;
        fact.event_id = postback.event_id;
        if (postback.type.equals("sent")) {
            fact.sent = postback.sent;
        }
        fact.occurred_at = postback.occurred_at;
        fact.code = postback.code;
        fact.text = postback.text == null || postback.text.length() <= MAX_TEXT
                ? postback.text : postback.text.substring(0, MAX_TEXT);
        fact.backup_message_id = postback.backup_message_id;
        fact.reply_id = postback.reply_id;
        return fact;
    }

    @Override
    public int compareTo(Fact other) {
        int byTime = received_at.compareTo(other.received_at);
        return byTime != 0 ? byTime : event_id.compareTo(other.event_id);
    }
}

package benchmark;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;

/** The fields of a postback that a message is built from; others are skipped. */
@JsonIgnoreProperties(ignoreUnknown = true)
public final class Postback {
    public String type;
    public String event_id;
    public String message_id;
    public String account;
    public String reference_id = "";
    public String from_number = "";
    public String to_number = "";
    public String occurred_at;
    public String received_at;
    public boolean sent;
    public String reply_id;
    public boolean matched;
    public String code;
    public String text;
    public String backup_message_id;
}

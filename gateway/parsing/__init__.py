"""From the bytes of a request to a postback or submissions, without I/O.

`request` holds a raw request, `postback` parses it, `form` splits bodies and queries into pairs, `values`
decodes single values. `submission` parses answers to sends: `answers` finds them in a body, `send_request`
reads the request beside them, `json_nodes` and `xml_nodes` read both formats into the `nodes` they share.
"""

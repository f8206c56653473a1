"""From the bytes of a request to a postback, without I/O.

`postback` is the whole way, `form` decodes the body into pairs, `fields`, `text` and `values` read single
values.
"""

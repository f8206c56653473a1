"""From the bytes of a request to a postback, without I/O.

`request` holds a raw request, `postback` parses it, `form` splits bodies and queries into pairs, `values`
decodes single values.
"""

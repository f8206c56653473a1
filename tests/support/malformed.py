"""A corpus of malformed, hostile and unusual input for the public port, by what is wrong with it."""

from __future__ import annotations

HEAD = b"POST /postback HTTP/1.1\r\nHost: x\r\n"
SENT = b"SMSSent=1&MessageID=9a35e913-ded0-7574-4642-5f60c550c706"
TLS_HELLO = bytes.fromhex(
    "16030100c5010000c10303000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20e0e1e2e3e4e5"
    "e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000813021303130100ff01000070"
)


def post(body: bytes = SENT, *headers: bytes) -> bytes:
    """Build a valid request with additional headers."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return HEAD + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*chunks: bytes) -> bytes:
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks)


#: Not valid HTTP: the response is 400 or none, and the connection is closed.
INVALID_HTTP = {
    "length and chunks": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SENT,
    "chunks and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + SENT,
    "two lengths": post(SENT, b"Content-Length: 3"),
    "two equal lengths": post(SENT, b"Content-Length: %d" % len(SENT)),
    "a list of lengths": HEAD + b"Content-Length: 5, 5\r\n\r\n12345",
    "a negative length": HEAD + b"Content-Length: -5\r\n\r\n12345",
    "a signed length": HEAD + b"Content-Length: +5\r\n\r\n12345",
    "a length in hex": HEAD + b"Content-Length: 0x5\r\n\r\n12345",
    "a length with a line in it": HEAD + b"Content-Length: 5\n5\r\n\r\n12345",
    "a length beyond all numbers": HEAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n",
    "an unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "two codings": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a space before the colon": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded header": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a header without a colon": HEAD + b"SMSSent\r\n\r\n",
    "a header without a name": HEAD + b": 1\r\n\r\n",
    "a NUL in a header": HEAD + b"Message: a\x00b\r\n\r\n",
    "a carriage return in a header": HEAD + b"Message: a\rContent-Length: 5\r\n\r\n",
    "a NUL in the target": b"POST /post\x00back HTTP/1.1\r\nHost: x\r\n\r\n",
    "an unknown version": b"POST /postback HTTP/9.9\r\nHost: x\r\n\r\n",
    "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "TLS on a plain port": TLS_HELLO,
    "an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a Redis command": b"*1\r\n$4\r\nPING\r\n",
    "a PROXY line": b"PROXY TCP4 198.51.100.1 203.0.113.7 35646 80\r\n" + post(),
    "no host": b"POST /postback HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "two hosts": post(SENT, b"Host: y"),
    "a line that never ends": b"POST /" + b"x" * 100_000,
    "a header that never ends": HEAD + b"X: " + b"x" * 100_000,
    "a name that never ends": HEAD + b"x" * 100_000,
    "headers that never end": HEAD + b"".join(b"X-%d: y\r\n" % number for number in range(10_000)),
    "nothing but line ends": b"\r\n" * 50_000,
    "NULs": b"\x00" * 50_000,
}
#: Malformed, truncated or oversized bodies: no part of them may be parsed as a postback.
INVALID_BODY = {
    "a negative chunk": chunked(b"-5\r\n", SENT),
    "a chunk size that is not hex": chunked(b"zz\r\n", SENT),
    "a chunk beyond all numbers": chunked(b"f" * 40 + b"\r\n", SENT),
    "a chunk without its end": chunked(b"5\r\n12345678\r\n0\r\n\r\n"),
    "a chunk with a bare line end": chunked(b"5\n12345\n0\n\n"),
    "a chunk's extension with a bare line end": chunked(b"5;a\nb\r\n12345\r\n0\r\n\r\n"),
    "an extension that never ends": chunked(b"5;", b"x" * 100_000),
    "trailers that never end": chunked(b"0\r\n", *(b"X-%d: y\r\n" % number for number in range(10_000))),
    "a truncated body": HEAD + b"Content-Length: 500\r\n\r\n" + SENT,
    "truncated chunks": chunked(b"%x\r\n" % len(SENT), SENT, b"\r\n"),
    "too large a body": post(b"x" * 300_000),
    "too large a body in chunks": chunked(*(b"1000\r\n" + b"x" * 4096 + b"\r\n" for _ in range(100))),
}
#: Unusual but valid HTTP: handled like any other request.
UNUSUAL = {
    "a list with many fields": post(b"&".join([b"a"] * 32_000)),
    "many empty fields": post(b"&" * 65_000),
    "many equal signs": post(b"=" * 65_000),
    "many escapes": post(b"Message=" + b"%41" * 20_000),
    "broken escapes": post(b"SMSSent=%&MessageID=%zz&a=%4&%=%%%"),
    "bytes that are not text": post(bytes(range(256)) * 200),
    "a target of bytes": b"POST /postback?\xff\xfe=%ff HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "a target with broken escapes": b"POST /postback%zz?%%% HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "a whole URL": b"POST http://elsewhere.example/postback HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "an invalid URL": b"POST http://[::1/postback HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "an invalid port": b"POST http://x:99999999/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "two slashes": b"POST //elsewhere.example/postback HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "a tunnel": b"CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: x\r\n\r\n" + SENT,
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/0.9": b"POST /postback\r\n\r\n",
    "HTTP/1.0": post().replace(b"HTTP/1.1", b"HTTP/1.0"),
    "an upgrade to WebSocket": post(SENT, b"Connection: Upgrade", b"Upgrade: websocket") + post(),
    "an upgrade to HTTP/2": post(SENT, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c") + post(),
    "an upgrade to an unknown protocol": post(SENT, b"Connection: Upgrade", b"Upgrade: \xff") + post(),
    "an unknown expectation": post(SENT, b"Expect: the-unexpected"),
    "a false content encoding": post(SENT, b"Content-Encoding: gzip"),
    "requests without end": post() * 200,
    "requests, then garbage": post() + b"\x00\xff garbage\r\n\r\n",
    "a cookie like a field": post(b"", b"Cookie: SMSSent=1", b"SMSSent: \xff\xfe"),
    "a multipart form of many parts": post(
        b"".join(b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' for _ in range(1_000))
        + b"--b--\r\n"
    ),
    "a truncated multipart form": post(b'--b\r\nContent-Disposition: form-data; name="SMSSent"\r\n\r\n1'),
    "a multipart form with long headers": post(
        b"--b\r\nContent-Disposition: form-data; name=" + b'"' + b"x" * 50_000
    ),
    "a multipart form without a boundary": post(
        b'--\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n----'
    ),
    "a boundary that never ends": post(b"--" + b"b" * 50_000 + b"\r\ncontent-disposition: form-data"),
    "an invalid X-Forwarded-For": post(SENT, b"X-Forwarded-For: \xff, [, ,,,unknown"),
}

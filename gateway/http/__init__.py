"""HTTP below the application: `server` listens, `connection` enforces time-outs, `response` writes the bytes.

`proxy_headers` finds the client's address behind trusted proxies, `tls` loads certificates.
"""

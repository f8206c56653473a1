"""HTTP below the application: `server` listens, `connection` enforces timeouts, `response` writes responses.

`proxy_headers` finds the client's address behind trusted proxies, `tls` loads certificates.
"""

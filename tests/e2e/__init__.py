"""The whole stack: `postbacks up`, containers, TLS, crashes."""

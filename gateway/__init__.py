"""Turns the provider's HTTP requests into postbacks and publishes them to Kafka, one topic per type.

`app` handles a request: `http` receives it, `auth` admits it, `parsing` reads it, and a `sink` stores it:
`kafka`, or the `spool` on disk while Kafka is unavailable. `postback` and `rejected` are the contracts that
other packages import. `topics` specifies the topics, `reload` watches files, `hold` stops intake, `processes`
runs several gateways on one port.
"""

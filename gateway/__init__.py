"""Turns the provider's HTTP requests into postbacks and publishes them to Kafka, one topic per type; and its
answers to sends into submissions.

`app` handles a request: `http` receives it, `auth` admits it, `parsing` reads it, and a `sink` stores it:
`kafka`, or the `spool` on disk while Kafka is unavailable. `store_answers` stores submissions. `postback`,
`submission`, `sms_errors` and `rejected` are the contracts that other packages import. `topics` specifies the
topics, `reload` watches files, `hold` stops intake, `processes` runs several gateways on one port.
"""

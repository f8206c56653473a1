"""The page that `postbacks up` shows when it is ready: where to post, and how to look at the result. Pure."""

from __future__ import annotations

from cli.up.stack import Endpoints, embedded_clickhouse
from runtime.settings import PREFIX, Settings, load_settings

SAMPLE_ID = "9a35e913-ded0-7574-4642-5f60c550c706"
#: The provider's own sample of a sent message, as its documentation prints it.
SAMPLE = (
    f"SMSSent=1&MessageID={SAMPLE_ID}&ReferenceID=12345&FromPhoneNumber=17575449510"
    "&ToPhoneNumber=17575449511&SentTime=5%2f8%2f2010+2%3a42%3a36+AM"
)
SAMPLE_QUESTION = "SELECT status, count() FROM messages GROUP BY status"
#: What listens on all addresses is reached on loopback, too.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}


def postback_url(places: Endpoints, settings: Settings) -> str:
    """Where to post. With tokens it ends in the word TOKEN: a token is a secret."""
    host, _, port = places.listen.rpartition(":")
    token = "/TOKEN" if settings.tokens.get_secret_value() else ""
    return f"http://{LOOPBACK.get(host, host)}:{port}/postback{token}"


def ready_page(places: Endpoints, settings: Settings, command: str) -> str:
    """What a newcomer does next; `command` is how they call `postbacks`."""
    url = postback_url(places, settings)
    usual = places.data == load_settings({}).data.absolute()
    call = command if usual else f"{command} --data {places.data}"
    lines = ["", "Ready. The PostBackURL is", "", f"    {url}", ""]
    if settings.tokens.get_secret_value():
        lines += [f"where TOKEN is one of yours ({PREFIX}TOKENS).", ""]
    lines += ["Post what the provider would post, its own sample:", "", f"    curl {url} -d '{SAMPLE}'", ""]
    lines += ["and look at the result, in another terminal:", ""]
    lines += [
        f"    {call} message {SAMPLE_ID}",
        f'    {call} sql "{SAMPLE_QUESTION}"',
        f"    {call} tail",
        "",
    ]
    if places.kafka or places.clickhouse:
        lines += [f"All data is in {places.data}; the next start continues with it."]
    return "\n".join([*lines, "Ctrl-C stops everything in good order.", ""])


def stack_settings(places: Endpoints, settings: Settings) -> dict[str, str]:
    """By which settings (full names) other commands find this stack."""
    names = {"kafka": settings.kafka, "partitions": settings.partitions, "replication": settings.replication}
    found = {PREFIX + name.upper(): str(value) for name, value in names.items()}
    if places.clickhouse:
        found[f"{PREFIX}CLICKHOUSE"] = embedded_clickhouse(places.clickhouse)
    return found

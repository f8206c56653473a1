"""The page that `postbacks up` prints when it is ready: where to post, and how to query the result. Pure."""

from __future__ import annotations

from cli.up.stack import Endpoints, embedded_clickhouse
from runtime.settings import PREFIX, Settings, load_settings

SAMPLE_ID = "9a35e913-ded0-7574-4642-5f60c550c706"
#: A sent postback, from the provider's documentation.
SAMPLE = (
    f"SMSSent=1&MessageID={SAMPLE_ID}&ReferenceID=12345&FromPhoneNumber=17575449510"
    "&ToPhoneNumber=17575449511&SentTime=5%2f8%2f2010+2%3a42%3a36+AM"
)
SAMPLE_QUERY = "SELECT status, count() FROM messages GROUP BY status"
#: The loopback address of a server that listens on all addresses.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}


def local_url(listen: str) -> str:
    """The URL of a gateway that listens on `host:port`, from this machine and without a path."""
    host, _, port = listen.rpartition(":")
    return f"http://{LOOPBACK.get(host, host)}:{port}"


def postback_url(endpoints: Endpoints, settings: Settings) -> str:
    """The PostBackURL; with tokens it ends in the word TOKEN, as tokens are secret."""
    token = "/TOKEN" if settings.tokens.get_secret_value() else ""
    return f"{local_url(endpoints.listen)}/postback{token}"


def ready_page(endpoints: Endpoints, settings: Settings, command: str) -> str:
    """What a new user does next; `command` is how to call `postbacks`."""
    url = postback_url(endpoints, settings)
    is_default = endpoints.data == load_settings({}).data.absolute()
    call = command if is_default else f"{command} --data {endpoints.data}"
    lines = ["", "Ready. The PostBackURL is", "", f"    {url}", ""]
    if settings.tokens.get_secret_value():
        lines += [f"where TOKEN is one of yours ({PREFIX}TOKENS).", ""]
    lines += ["Post a sample from the provider's documentation:", "", f"    curl {url} -d '{SAMPLE}'", ""]
    lines += ["and query the result, in another terminal:", ""]
    lines += [
        f"    {call} message {SAMPLE_ID}",
        f'    {call} sql "{SAMPLE_QUERY}"',
        f"    {call} tail",
        "",
    ]
    if endpoints.kafka or endpoints.clickhouse:
        lines += [f"All data is in {endpoints.data}; the next start continues with it."]
    return "\n".join([*lines, "Ctrl-C shuts down gracefully.", ""])


def stack_settings(endpoints: Endpoints, settings: Settings) -> dict[str, str]:
    """The settings (by their full names) with which other commands find this stack."""
    names = ("kafka", "partitions", "replication")
    found = {PREFIX + name.upper(): str(getattr(settings, name)) for name in names}
    if endpoints.clickhouse:
        found[f"{PREFIX}CLICKHOUSE"] = embedded_clickhouse(endpoints.clickhouse)
    if token := settings.read_token.get_secret_value():
        found[f"{PREFIX}READ_TOKEN"] = token
    if settings.contact_url:
        found[f"{PREFIX}CONTACT_URL"] = settings.contact_url
    if not settings.tokens.get_secret_value():  # else the URL ends with a token, of which there may be many
        found[f"{PREFIX}SUBMISSION_URL"] = f"{local_url(endpoints.listen)}/submission"
    return found

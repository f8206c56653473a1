"""Logging: one line per event on standard error, as text or JSON, for our code and for libraries."""

from __future__ import annotations

import logging.config
from collections.abc import Sequence

import structlog

from runtime.log_filters import RateLimitFilter, redact_phone_numbers

#: Loggers that may log below INFO. Libraries log records and passwords at DEBUG.
OWN_LOGGERS = (
    "gateway",
    "sending",
    "streams",
    "sinks",
    "operations",
    "cli",
    "embedded",
    "simulator",
    "runtime",
    "__main__",
)
#: Libraries that log too much below WARNING.
NOISY_LOGGERS = ("aiokafka", "faust", "mode", "aiohttp", "asyncio")


def configure_logs(
    level: str, form: str, redaction: Sequence[structlog.typing.Processor] = (redact_phone_numbers,)
) -> None:
    """Send every logger of this process to standard error, as `text` or `json`.

    Args:
        redaction: processors that remove personal data.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    render: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        structlog.processors.format_exc_info,
                        *redaction,
                        render,
                    ],
                }
            },
            "filters": {"rate_limit": {"()": RateLimitFilter, "names": NOISY_LOGGERS}},
            "handlers": {
                "stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["rate_limit"]}
            },
            "root": {"handlers": ["stderr"], "level": "INFO" if level == "debug" else level.upper()},
            "loggers": {name: {"level": level.upper()} for name in OWN_LOGGERS}
            | {name: {"level": "INFO" if level == "debug" else "WARNING"} for name in NOISY_LOGGERS},
        }
    )

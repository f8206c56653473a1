"""Logs: one line an event on standard error, for people or as JSON, whoever logs it."""

from __future__ import annotations

import logging.config

import structlog

from runtime.flood import Flood

#: Libraries whose chatter below this level helps nobody.
QUIET = {
    "aiokafka": "WARNING",
    "faust": "WARNING",
    "mode": "WARNING",
    "aiohttp": "WARNING",
    "asyncio": "WARNING",
}


def configure_logs(level: str, form: str) -> None:
    """Send every logger of this process to standard error, as `text` or `json`."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    render: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if form == "json"
        else [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)]
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
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
                }
            },
            "filters": {"flood": {"()": Flood, "names": tuple(QUIET)}},
            "handlers": {
                "stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["flood"]}
            },
            "root": {"handlers": ["stderr"], "level": level.upper()},
            "loggers": {name: {"level": "DEBUG" if level == "debug" else at} for name, at in QUIET.items()},
        }
    )

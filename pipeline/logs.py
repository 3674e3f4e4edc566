"""Structured logs on standard error: one line per fact, never anything personal (no e-mail, id, address, or event text)."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

# Vendors that repeat themselves while a broker is away: hundreds of lines a minute that say nothing new.
NOISY = ("kafka", "aiokafka", "faust", "mode", "httpx", "httpcore", "asyncio", "botocore", "urllib3")


def configure(*, level: str = "info", json_lines: bool = False) -> None:
    """Once per process, from its `main`.  `json_lines` for machines; people get key=value."""
    number = getattr(logging, level.upper())
    renderer: Any = (
        structlog.processors.JSONRenderer() if json_lines else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s [%(levelname)s] %(name)s: %(message)s"
    )
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def logger(room: str) -> Any:
    """A logger that says which room speaks.  Modules make theirs at import: it looks for the configuration only when it speaks."""
    return structlog.get_logger(room=room)

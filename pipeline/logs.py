"""Structured logs on standard error: one line per fact, never anything personal (no e-mail, id, address, or event text)."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

# Vendors that repeat themselves while a broker is away: hundreds of lines a minute that say nothing new.
NOISY = ("kafka", "aiokafka", "faust", "mode", "httpx", "httpcore", "asyncio", "botocore", "urllib3")


class Seldom(logging.Filter):
    """Lets each line of a vendor through once a minute: a client whose topic is gone says so four hundred times a second."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[tuple[str, str]] = set()
        self._until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.created >= self._until:
            self._said.clear()
            self._until = record.created + 60
        line = record.name, record.getMessage()
        new = line not in self._said
        self._said.add(line)
        return new


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
    for handler in logging.getLogger().handlers:
        handler.addFilter(Seldom())
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def logger(room: str) -> Any:
    """A logger that says which room speaks.  Modules make theirs at import: it looks for the configuration only when it speaks."""
    return structlog.get_logger(room=room)

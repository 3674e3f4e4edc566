"""The only door to Redis: how a client is made, what its keys begin with, and what its errors become.

Redis holds what can be made again at once: whose turn it is, how far somebody is, numbers that are seconds old.  Whatever is in it may be gone at the
next call, and every call may fail: `Unavailable`, at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from pipeline.errors import ConfigError, Unavailable
from pipeline.settings import Settings

# A request waits for this at most; whoever calls goes on without Redis then.
CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 2.0


def connect(settings: Settings, *, answer_seconds: float | None = ANSWER_SECONDS) -> Any:
    """A client for any thread; connects at the first call.  Text in, text out; `answer_seconds=None` for one that listens.

    It never repeats a command by itself: the library's own default sends a command again whose answer was lost, and an entry is then added twice.
    Raises ConfigError if no Redis is set or the address is none.
    """
    settings.needs("redis")
    try:
        return redis.Redis.from_url(
            settings.redis,
            protocol=3,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=answer_seconds,
            health_check_interval=15,
        )
    except ValueError as error:
        raise ConfigError(f"ACTIVITY_REDIS: {error}; give redis://host:6379/0") from None


def key(settings: Settings, *parts: str) -> str:
    """The name of a key of this installation: `activity:queue:short`.  Several installations may share a server."""
    return ":".join((settings.app_id, *parts))


@contextmanager
def answering() -> Iterator[None]:
    """Around calls of a client: what they raise becomes Unavailable."""
    try:
        yield
    except RedisError as error:
        raise Unavailable(f"Redis does not answer ({type(error).__name__}); it is tried again") from None


def forgotten(error: BaseException) -> bool:
    """Whether a command failed because a group or stream that was made is no longer there: the server was emptied."""
    return isinstance(error, ResponseError) and str(error).startswith("NOGROUP")

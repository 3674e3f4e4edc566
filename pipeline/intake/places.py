"""Places with objects in them, as the intake needs them, and who knows how to open one: named per scheme by whoever assembles the program.

This room may not name a library for buckets, nor the rooms that do; so it says what it reads, and is handed a way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from pipeline.errors import ConfigError


class Listed(Protocol):
    """One object of a listing; `etag` changes when its bytes do."""

    @property
    def key(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def etag(self) -> str: ...


class Objects(Protocol):
    """A place with objects.  Raises Unavailable (try again), Refused."""

    @property
    def place(self) -> str: ...
    def objects(self, prefix: str = "") -> Iterator[Listed]: ...
    def read(self, key: str) -> Iterator[bytes]: ...
    def close(self) -> None: ...


class Way(NamedTuple):
    """How to come to a place, beyond its name; what is empty is the vendor's own."""

    endpoint_url: str = ""
    region: str = ""
    keys: Path | None = None


Opener = Callable[[str, Way], Objects]
OPENERS: dict[str, Opener] = {}


def is_place(name: str) -> bool:
    return "://" in name


def opened(name: str, way: Way) -> Objects:
    """Raises ConfigError."""
    scheme = name.partition("://")[0]
    if scheme not in OPENERS:
        raise ConfigError(f"{name}: {scheme} is no place that can be read; give files, or s3://bucket/prefix")
    return OPENERS[scheme](name, way)

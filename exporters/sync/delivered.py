"""A delivery as the verifier reads it, through the sink's own door: a destination's name, or a place as a person names it.

The verifier itself stays one file with a door of its own, so that others can run it with nothing but boto3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from exporters.sinks.opening import open_sink
from exporters.sinks.target import BucketTarget, DirectoryTarget, of_url
from exporters.sync.destinations import Destination
from exporters.sync.verify import Directory, Place
from pipeline.errors import RequestError


class Delivered:
    """What lies at a target."""

    def __init__(self, target: DirectoryTarget | BucketTarget) -> None:
        self.name = target.place
        self._sink = open_sink(target)

    def keys(self) -> Iterator[tuple[str, int]]:
        return ((found.key, found.size) for found in self._sink.objects())

    def read(self, key: str) -> Iterator[bytes]:
        return self._sink.read(key)


def delivered(
    where: str,
    destinations: Mapping[str, Destination],
    *,
    endpoint: str = "",
    region: str = "",
    keys: Path | None = None,
) -> Place:
    """Raises ConfigError, RequestError."""
    if where.startswith("s3://"):
        return Delivered(of_url(where, endpoint=endpoint, region=region, keys=keys))
    if Path(where).is_dir():
        return Directory(where)
    if where in destinations:
        return Delivered(destinations[where].target)
    known = ", ".join(sorted(destinations)) or "none"
    raise RequestError(
        f"{where} is neither a directory nor a destination (there are: {known}); name one, or s3://bucket/prefix"
    )

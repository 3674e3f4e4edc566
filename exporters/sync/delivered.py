"""A delivery as the verifier reads it, through the sink's own door: a destination's name, or a place as a person names it.

The verifier itself stays one file with a door of its own, so that others can run it with nothing but boto3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from exporters.sinks import sink
from exporters.sinks.opening import open_sink
from exporters.sinks.target import BucketTarget, of_url
from exporters.sync import verify
from exporters.sync.destinations import Destination
from exporters.sync.verify import Directory, Place
from pipeline.errors import Refused, RequestError, Unavailable


class Delivered:
    """What lies in a bucket."""

    def __init__(self, target: BucketTarget) -> None:
        self.name = target.place
        self._sink = open_sink(target)

    def keys(self) -> Iterator[str]:
        return (found.key for found in self._sink.objects())

    def read(self, key: str) -> Iterator[bytes]:
        try:
            yield from self._sink.read(key)
        except sink.Missing:
            raise verify.Missing(f"{key} is missing") from None
        except (Unavailable, Refused) as problem:
            raise verify.Broken(f"{key} cannot be read: {problem}") from None


def delivered(
    where: str,
    destinations: Mapping[str, Destination],
    *,
    endpoint: str = "",
    region: str = "",
    keys: Path | None = None,
) -> Place:
    """Raises ConfigError, RequestError, Unreadable."""
    if where.startswith("s3://"):
        return Delivered(of_url(where, endpoint=endpoint, region=region, keys=keys))
    if Path(where).is_dir():
        return Directory(where)
    if where in destinations:
        target = destinations[where].target
        return Delivered(target) if isinstance(target, BucketTarget) else Directory(str(target.path))
    known = ", ".join(sorted(destinations)) or "none"
    raise RequestError(
        f"{where} is neither a directory nor a destination (there are: {known}); name one, or s3://bucket/prefix"
    )

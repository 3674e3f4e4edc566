"""The one way to a sink: a target in, an open sink out."""

from __future__ import annotations

from exporters.sinks.directory import DirectorySink
from exporters.sinks.sink import Sink
from exporters.sinks.target import BucketTarget, DirectoryTarget
from pipeline.errors import ConfigError


def open_sink(target: DirectoryTarget | BucketTarget) -> Sink:
    """Open where the target points to; nothing is written.  Raises ConfigError, Unavailable, Refused."""
    match target:
        case DirectoryTarget():
            return DirectorySink(target.path)
        case BucketTarget():
            raise ConfigError(f"{target.place}: delivery to S3 is not part of this version; choose a directory")

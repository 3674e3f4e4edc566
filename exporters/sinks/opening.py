"""The one way to a sink: a target in, an open sink out."""

from __future__ import annotations

from exporters.sinks.clients import Timing
from exporters.sinks.directory import DirectorySink
from exporters.sinks.s3 import S3Sink
from exporters.sinks.sink import Sink
from exporters.sinks.target import BucketTarget, DirectoryTarget


def open_sink(target: DirectoryTarget | BucketTarget, *, timing: Timing | None = None) -> Sink:
    """Open where the target points to; nothing is sent.  Raises ConfigError, Unavailable, Refused."""
    match target:
        case DirectoryTarget():
            return DirectorySink(target.path)
        case BucketTarget():
            return S3Sink(target, timing)
